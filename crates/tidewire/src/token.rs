//! `tidewire token`: make keys and tokens.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{ArgGroup, Subcommand};
use tidewire_auth::{Claims, SECRET_BYTES_MIN, Secret, mint};
use tidewire_topic::{BaseUrl, Matcher, MatcherSet, Pattern, Template};

/// The most bytes read from a key or token file: more than any that is good.
const FILE_BYTES_MAX: u64 = 64 * 1_024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key: a new file with a random secret, readable by its owner only.
    ///
    /// The hub and whoever makes tokens both need it. A file that is there is not overwritten.
    NewKey {
        /// The file to make.
        file: PathBuf,
    },
    /// Make a token and print it.
    Mint(Box<MintArgs>),
}

/// What a token may grant; it grants one of them at least.
const RIGHTS: [&str; 7] =
    ["publish", "publish_pattern", "publish_template", "subscribe", "subscribe_pattern", "subscribe_template", "admin"];

/// Stands for the hub's URL where a pattern is checked: it is the hub that knows its own.
const ANY_HUB: &str = "https://hub.invalid";

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("right").args(RIGHTS).multiple(true).required(true))]
struct MintArgs {
    /// The key, as `tidewire token new-key` made it.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Who bears the token.
    #[arg(long, value_name = "SUBJECT")]
    sub: Option<String>,
    /// A topic on which its bearer may publish; `*` for all. May be repeated.
    #[arg(long, value_name = "TOPIC", value_parser = Matcher::parse)]
    publish: Vec<Matcher>,
    /// A URL Pattern of such topics, relative to the hub's `public_url`. May be repeated.
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    publish_pattern: Vec<Matcher>,
    /// A URI Template of such topics. May be repeated.
    #[arg(long, value_name = "TEMPLATE", value_parser = template)]
    publish_template: Vec<Matcher>,
    /// A topic whose private events its bearer may read; `*` for all. May be repeated.
    #[arg(long, value_name = "TOPIC", value_parser = Matcher::parse)]
    subscribe: Vec<Matcher>,
    /// A URL Pattern of such topics, relative to the hub's `public_url`. May be repeated.
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    subscribe_pattern: Vec<Matcher>,
    /// A URI Template of such topics. May be repeated.
    #[arg(long, value_name = "TEMPLATE", value_parser = template)]
    subscribe_template: Vec<Matcher>,
    /// Its bearer may manage the hub.
    #[arg(long)]
    admin: bool,
    /// The hub it is for: its `public_url`. Without it, any hub with the key takes the token.
    #[arg(long, value_name = "URL")]
    aud: Option<String>,
    /// How long it is good for: a number and s, min, h or d; or `never`.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = Lifetime::parse)]
    expires_in: Lifetime,
}

/// How long a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
    Limited(Duration),
    Unlimited,
}

/// Makes a key or a token.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::NewKey { file } => new_key(&file),
        Command::Mint(args) => {
            let token = mint_token(&args)?;
            writeln!(std::io::stdout(), "{token}").context("failed to write the token")
        }
    }
}

/// Reads the token in a file; white space around it is passed over.
pub(crate) fn read_token_file(path: &Path) -> anyhow::Result<String> {
    let content = read_small(path).with_context(|| format!("failed to read the token file {}", path.display()))?;
    let token = content.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{} does not hold a token", path.display());
    }
    Ok(token.to_owned())
}

fn new_key(path: &Path) -> anyhow::Result<()> {
    let mut random = [0; SECRET_BYTES_MIN];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("failed to get random bytes: {error}"))?;
    let content = Secret::from_random(random).to_file_content();

    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already; a key is never overwritten", path.display())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("the folder of {} is not there; make it first", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("failed to make {}", path.display())),
    };
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("failed to write {}", path.display()))
}

fn mint_token(args: &MintArgs) -> anyhow::Result<String> {
    let path = args.key_file.display();
    let content = read_small(&args.key_file).with_context(|| format!("failed to read the key file {path}"))?;
    let secret = Secret::parse(&content).with_context(|| format!("{path} does not hold a key"))?;
    let claims = Claims {
        subject: args.sub.clone(),
        audience: args.aud.clone(),
        not_before_s: None,
        expires_at_s: args.expires_in.end_s(now_s()?),
        publish: matcher_set([&args.publish, &args.publish_pattern, &args.publish_template])
            .context("failed to grant publishing")?,
        subscribe: matcher_set([&args.subscribe, &args.subscribe_pattern, &args.subscribe_template])
            .context("failed to grant subscribing")?,
        admin: args.admin,
    };
    mint(secret.as_bytes(), &claims).context("failed to make the token")
}

fn matcher_set(matchers: [&Vec<Matcher>; 3]) -> anyhow::Result<Option<MatcherSet>> {
    let mut matchers = matchers.into_iter().flatten().cloned().peekable();
    if matchers.peek().is_none() { Ok(None) } else { Ok(Some(MatcherSet::new(matchers)?)) }
}

fn pattern(text: &str) -> anyhow::Result<Matcher> {
    Ok(Matcher::Pattern(Pattern::parse(text, &BaseUrl::parse(ANY_HUB)?)?))
}

fn template(text: &str) -> anyhow::Result<Matcher> {
    Ok(Matcher::Template(Template::parse(text)?))
}

fn read_small(path: &Path) -> std::io::Result<String> {
    let mut content = String::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut content)?;
    Ok(content)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the binary is the shell: it reads the clock for those that take the time"
)]
fn now_s() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    Ok(now.as_secs())
}

impl Lifetime {
    fn parse(text: &str) -> Result<Lifetime, String> {
        let expected = || "expected a whole number and a unit (s, min, h, d), as 12h; or never".to_owned();
        if text == "never" {
            return Ok(Lifetime::Unlimited);
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_s = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(expected()),
        };
        let number: u64 = number.parse().map_err(|_| expected())?;
        let seconds = number.checked_mul(unit_s).filter(|&seconds| seconds > 0).ok_or_else(expected)?;
        Ok(Lifetime::Limited(Duration::from_secs(seconds)))
    }

    /// The second since the Unix epoch at which it ends, or nothing where it does not.
    fn end_s(self, now_s: u64) -> Option<u64> {
        match self {
            Lifetime::Limited(duration) => now_s.checked_add(duration.as_secs()),
            Lifetime::Unlimited => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_a_unit_or_are_never() {
        let limited = |seconds| Ok(Lifetime::Limited(Duration::from_secs(seconds)));
        assert_eq!(Lifetime::parse("90s"), limited(90));
        assert_eq!(Lifetime::parse("5m"), limited(300));
        assert_eq!(Lifetime::parse("5min"), limited(300));
        assert_eq!(Lifetime::parse("1h"), limited(3_600));
        assert_eq!(Lifetime::parse("30d"), limited(2_592_000));
        assert_eq!(Lifetime::parse("never"), Ok(Lifetime::Unlimited));
        for text in ["", "1", "h", "-1h", "1.5h", "0s", "1w", "1 h", "99999999999999999999s", "18446744073709551615d"] {
            assert!(Lifetime::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_end_beyond_all_time_is_no_end() {
        assert_eq!(Lifetime::parse("60s").map(|lifetime| lifetime.end_s(40)), Ok(Some(100)));
        assert_eq!(Lifetime::parse("60s").map(|lifetime| lifetime.end_s(u64::MAX)), Ok(None));
    }
}
