use tidewire_topic::MatcherSet;

/// What the bearer of a token may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The topics on which events may be published; `None`: none.
    pub publish: Option<MatcherSet>,
    /// The topics whose private events may be read; `None`: none.
    pub subscribe: Option<MatcherSet>,
    /// Whether the hub may be managed.
    pub admin: bool,
    /// Who the bearer is, as the token says.
    pub subject: Option<String>,
    /// The first second since the Unix epoch at which the token is refused as expired, the leeway
    /// included; `None`: it does not expire.
    pub expires_at_s: Option<u64>,
}
