//! Tokens to grants.
//!
//! A token is a JSON Web Token signed with HS256. What it grants stands in the claim `tidewire`:
//!
//! ```json
//! {"sub": "alice", "exp": 1767225600, "aud": "https://hub.example.com",
//!  "tidewire": {"publish": ["orders"], "subscribe": ["*"], "admin": false}}
//! ```
//!
//! A right is granted on topics, `*`, `{"pattern": "/users/alice/*"}` and `{"template": "/users/{id}"}`.
//! Every member may be absent; a right that is not named is not granted. [`Verifier`] checks
//! tokens, [`mint`] makes them, and [`Secret`] is the key both share, as it stands in its file.
//! Time and randomness are arguments.

mod claims;
mod grants;
mod mint;
mod secret;
mod verifier;

pub use grants::Grants;
pub use mint::{Claims, MintError, mint};
pub use secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, SecretError};
pub use verifier::{KeyError, LEEWAY_S, TOKEN_BYTES_MAX, TokenError, Verifier};
