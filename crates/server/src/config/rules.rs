use std::time::Duration;

use tidewire_log::{RetentionRule, RetentionRules};
use tidewire_topic::{BaseUrl, Pattern};

use super::value::Value;
use super::{PublicUrl, nearest};

/// The shortest age that a rule may give: retention looks every few seconds.
const RULE_AGE_MIN: Duration = Duration::from_secs(1);

/// The members of a rule in the file.
const MEMBERS: [&str; 2] = ["pattern", "age"];

/// Rules of retention as they were written: the URL that patterns are relative to is known when
/// everything has been read.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleTexts(Vec<RuleText>);

#[derive(Clone, Debug)]
struct RuleText {
    pattern: String,
    age: Duration,
}

/// Rules in one line, as `/chat/*=1h, /logs/*=1d`. A pattern may have a `=`; one with a comma can
/// only stand in the file.
impl Value for RuleTexts {
    fn parse(text: &str) -> Result<RuleTexts, String> {
        if text.trim().is_empty() {
            return Ok(RuleTexts::default());
        }
        let rules = text.split(',').zip(1..).map(|(rule, n)| {
            let (pattern, age) = rule
                .rsplit_once('=')
                .ok_or_else(|| format!("expected PATTERN=AGE in rule {n}, as '/chat/*=1h, /logs/*=1d'"))?;
            let age = Duration::parse(age.trim()).map_err(|expected| format!("in the age of rule {n}, {expected}"))?;
            Ok(RuleText { pattern: pattern.trim().to_owned(), age })
        });
        rules.collect::<Result<_, String>>().map(RuleTexts)
    }
}

impl RuleTexts {
    /// Rules as the file has them, a table each.
    pub(super) fn from_tables(tables: toml::Value) -> Result<RuleTexts, String> {
        let toml::Value::Array(tables) = tables else {
            return Err(format!("expected [[retention_rules]] for each rule, not a {}", tables.type_str()));
        };
        let rules = tables
            .into_iter()
            .zip(1..)
            .map(|(table, n)| RuleText::from_table(table).map_err(|problem| format!("rule {n}: {problem}")));
        rules.collect::<Result<_, String>>().map(RuleTexts)
    }

    /// The rules themselves, checked. The error says which one is wrong, and where.
    pub(super) fn resolve(&self, base: &PublicUrl, retention_age: Duration) -> Result<RetentionRules, String> {
        let base = BaseUrl::parse(base.as_str()).map_err(|error| error.to_string())?;
        let rules = self.0.iter().zip(1..).map(|(rule, n)| {
            let pattern = &rule.pattern;
            let refused = |problem: String| format!("rule {n} ({pattern:?}): {problem}");
            let age = rule.age;
            if age < RULE_AGE_MIN || age > retention_age {
                return Err(refused(format!(
                    "expected {RULE_AGE_MIN:?} to retention_age ({retention_age:?}), not {age:?}"
                )));
            }
            let pattern = Pattern::parse(pattern, &base).map_err(|error| refused(error.to_string()))?;
            Ok(RetentionRule { pattern, age })
        });
        RetentionRules::new(rules.collect::<Result<_, String>>()?).map_err(|error| error.to_string())
    }
}

impl RuleText {
    fn from_table(table: toml::Value) -> Result<RuleText, String> {
        let toml::Value::Table(mut table) = table else {
            return Err(format!("expected a table of pattern and age, not a {}", table.type_str()));
        };
        if let Some(name) = table.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            let meant = nearest(name, MEMBERS).map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            return Err(format!("there is no such member as {name}{meant}"));
        }
        let mut member = |name| match table.remove(name) {
            Some(toml::Value::String(text)) => Ok(text),
            Some(other) => Err(format!("{name}: expected a string, not a {}", other.type_str())),
            None => Err(format!("{name} is not set")),
        };
        let (pattern, age) = (member("pattern")?, member("age")?);
        let age = Duration::parse(&age).map_err(|expected| format!("age: {expected}, not {age:?}"))?;
        Ok(RuleText { pattern, age })
    }
}
