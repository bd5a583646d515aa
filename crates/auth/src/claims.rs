//! The claims as they stand in a token.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The payload of a token. Members that are not known are other people's and are passed over;
/// `null` is not the same as absent, and refused.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Payload {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) aud: Option<Audience>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) tidewire: Option<Object<Rights>>,
}

/// The claim `tidewire`. It is the hub's own: a member that is not known is a mistake, or a
/// restriction of a later version, and refuses the token.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rights {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) publish: Vec<Granted>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscribe: Vec<Granted>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) admin: bool,
}

/// What a right is granted on: a topic or `*` as a text, or an object that says what it has.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Granted {
    Topic(String),
    Form(Object<Form>),
}

/// Topics of a form.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// A URL Pattern, relative to the hub's URL.
    Pattern(String),
    /// A URI Template.
    Template(String),
}

/// A JSON object and nothing else: a derived `Deserialize` would take an array of the members'
/// values as well.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Object<T>(pub(crate) T);

/// One audience or several.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Seconds since the Unix epoch, not negative. RFC 7519 allows fractions.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum NumericDate {
    Whole(u64),
    Fraction(f64),
}

impl Audience {
    pub(crate) fn names(&self, audience: &str) -> bool {
        match self {
            Audience::One(one) => one == audience,
            Audience::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

impl NumericDate {
    /// The whole second in which the date lies, or nothing for what is before 1970.
    pub(crate) fn floor_s(self) -> Option<u64> {
        match self {
            NumericDate::Whole(seconds) => Some(seconds),
            // The cast saturates: a date beyond the range is as good as never.
            NumericDate::Fraction(seconds) => (seconds >= 0.0).then_some(seconds as u64),
        }
    }

    /// The first whole second that is not before the date.
    pub(crate) fn ceil_s(self) -> Option<u64> {
        match self {
            NumericDate::Whole(_) => self.floor_s(),
            NumericDate::Fraction(seconds) => NumericDate::Fraction(seconds.ceil()).floor_s(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// `serde` takes `null` for an absent `Option`; a date that is `null` must not mean "for ever".
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
