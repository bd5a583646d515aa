//! What the verifier takes and what it refuses. Forged tokens are put together here by hand, so
//! that the crate itself needs no way to make one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use tidewire_auth::{Claims, Grants, KeyError, LEEWAY_S, MintError, TOKEN_BYTES_MAX, TokenError, Verifier, mint};
use tidewire_topic::{
    BaseUrl, MATCHER_WEIGHT_MAX, MATCHERS_MAX, Matcher, MatcherSet, MatcherSetError, Pattern, Template,
};

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_800_000_000;

fn verifier() -> Verifier {
    Verifier::hs256(SECRET, Some("https://hub.example.com")).expect("a verifier")
}

fn set(texts: &[&str]) -> MatcherSet {
    MatcherSet::new(texts.iter().map(|text| Matcher::parse(text).expect(text))).expect("a set")
}

/// A token with this header and payload, signed as `algorithm` says whatever the header says.
fn forge(head: &Value, payload: &str, secret: &[u8], algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).expect("a signature");
    format!("{message}.{signature}")
}

fn signed(payload: &Value) -> String {
    forge(&json!({"alg": "HS256"}), &payload.to_string(), SECRET, Algorithm::HS256)
}

fn reason(token: &str) -> &'static str {
    verifier().verify(token, NOW_S).expect_err(token).reason()
}

#[test]
fn what_is_minted_is_granted() {
    let claims = Claims {
        subject: Some("alice".to_owned()),
        audience: Some("https://hub.example.com".to_owned()),
        not_before_s: Some(NOW_S),
        expires_at_s: Some(NOW_S + 60),
        publish: Some(set(&["a", "b"])),
        subscribe: Some(MatcherSet::any()),
        admin: true,
    };
    let token = mint(SECRET, &claims).expect("a token");
    let grants = verifier().verify(&token, NOW_S).expect("grants");
    let expected = Grants {
        publish: claims.publish,
        subscribe: claims.subscribe,
        admin: true,
        subject: claims.subject,
        expires_at_s: Some(NOW_S + 60 + LEEWAY_S),
    };
    assert_eq!(grants, expected);
}

#[test]
fn patterns_and_templates_are_granted_as_they_are_minted() {
    let base = BaseUrl::parse("https://hub.example.com").expect("a URL");
    let verifier = verifier().relative_to(base.clone());
    let pattern = Matcher::Pattern(Pattern::parse("/users/alice/*", &base).expect("a pattern"));
    let template = Matcher::Template(Template::parse("/users/{id}").expect("a template"));
    let topic = Matcher::parse("/users/*").expect("a topic");
    let claims = Claims {
        publish: MatcherSet::new([template.clone()]).ok(),
        subscribe: MatcherSet::new([pattern, topic, template]).ok(),
        ..Claims::default()
    };
    let token = mint(SECRET, &claims).expect("a token");
    let grants = verifier.verify(&token, NOW_S).expect("grants");
    assert_eq!((&grants.publish, &grants.subscribe), (&claims.publish, &claims.subscribe));

    let written = json!({"tidewire": {"subscribe": [
        {"pattern": "/users/alice/*"}, "/users/*", {"template": "/users/{id}"}
    ]}});
    assert_eq!(verifier.verify(&signed(&written), NOW_S).expect("grants").subscribe, claims.subscribe);
    // It is not guessed what a pattern is relative to.
    assert_eq!(reason(&token), "claims");
}

#[test]
fn what_is_no_pattern_or_template_refuses_the_token() {
    let base = BaseUrl::parse("https://hub.example.com").expect("a URL");
    let verifier = verifier().relative_to(base);
    for granted in [
        json!({"pattern": "/(a"}),
        json!({"pattern": ""}),
        json!({"template": "/{a"}),
        json!({"pattern": "/a", "template": "/a"}),
        json!({"topic": "a"}),
        json!({"Pattern": "/a"}),
        json!({}),
        json!({"pattern": null}),
        json!(["pattern", "/a"]),
        json!([["pattern", "/a"]]),
        json!(1),
        json!(null),
    ] {
        let token = signed(&json!({"tidewire": {"subscribe": [granted]}}));
        assert_eq!(verifier.verify(&token, NOW_S).expect_err("a refusal").reason(), "claims", "{granted}");
    }
}

#[test]
fn one_more_than_the_weight_of_a_right_refuses_the_token() {
    let base = BaseUrl::parse("https://hub.example.com").expect("a URL");
    let verifier = verifier().relative_to(base);
    let granting = |count| {
        let granted: Vec<Value> = (0..count).map(|n| json!({"pattern": format!("/({n}|x)")})).collect();
        verifier.verify(&signed(&json!({"tidewire": {"publish": granted}})), NOW_S)
    };
    assert_eq!(granting(5).expect("grants").publish.expect("a right").weight(), MATCHER_WEIGHT_MAX);
    assert!(matches!(granting(6), Err(TokenError::Topics { source: MatcherSetError::TooHeavy { .. }, .. })));
    let repeated = |count| {
        let granted = vec![json!({"template": "/{a}"}); count];
        verifier.verify(&signed(&json!({"tidewire": {"publish": granted}})), NOW_S)
    };
    assert!(repeated(MATCHERS_MAX).is_ok());
    assert!(matches!(
        repeated(MATCHERS_MAX + 1),
        Err(TokenError::Topics { source: MatcherSetError::TooMany { .. }, .. })
    ));
}

#[test]
fn what_is_not_named_is_not_granted() {
    let nothing = Grants::default();
    let token = mint(SECRET, &Claims::default()).expect("a token");
    assert_eq!(verifier().verify(&token, NOW_S).expect("grants"), nothing);
    for payload in
        [json!({}), json!({"tidewire": {}}), json!({"tidewire": {"publish": []}, "mercure": {"publish": ["*"]}})]
    {
        assert_eq!(verifier().verify(&signed(&payload), NOW_S).expect("grants"), nothing, "{payload}");
    }
}

#[test]
fn a_forged_token_is_refused() {
    let payload = json!({"tidewire": {"publish": ["*"]}}).to_string();
    let hs256 = json!({"alg": "HS256"});
    assert_eq!(reason(&forge(&hs256, &payload, &[7; 32], Algorithm::HS256)), "signature");
    // Right key, wrong hash: a longer signature whose header lies.
    assert_eq!(reason(&forge(&hs256, &payload, SECRET, Algorithm::HS512)), "signature");

    let good = signed(&json!({"tidewire": {"publish": ["a"]}}));
    let other = signed(&json!({"tidewire": {"publish": ["*"]}}));
    let (head, rest) = good.split_once('.').expect("a dot");
    let (_, signature) = rest.split_once('.').expect("a dot");
    let (_, other_payload) = other.split_once('.').expect("a dot");
    let (other_payload, _) = other_payload.split_once('.').expect("a dot");
    assert_eq!(reason(&format!("{head}.{other_payload}.{signature}")), "signature");
    assert_eq!(reason(&format!("{head}.{other_payload}.")), "signature");
}

#[test]
fn no_algorithm_and_any_other_are_refused() {
    let payload = json!({}).to_string();
    for algorithm in ["none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDSA", "HS256 "] {
        let token = forge(&json!({"alg": algorithm}), &payload, SECRET, Algorithm::HS256);
        assert_eq!(reason(&token), "algorithm", "{algorithm}");
    }
    let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("{}"));
    assert_eq!(reason(&unsigned), "algorithm");
    assert_eq!(reason(&forge(&json!({"typ": "JWT"}), &payload, SECRET, Algorithm::HS256)), "malformed");
    assert_eq!(reason(&forge(&json!(["HS256"]), &payload, SECRET, Algorithm::HS256)), "malformed");
    assert_eq!(reason(&forge(&json!({"alg": 1}), &payload, SECRET, Algorithm::HS256)), "malformed");
}

#[test]
fn a_critical_extension_is_refused() {
    // RFC 7515, section 4.1.11: what is not understood must refuse the token. `b64` (RFC 7797)
    // would otherwise change what is signed.
    let head = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    assert_eq!(reason(&forge(&head, "{}", SECRET, Algorithm::HS256)), "critical");
}

#[test]
fn keys_in_the_header_are_not_used() {
    let own = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32])});
    let head = json!({"alg": "HS256", "jwk": own, "jku": "https://evil.example.com", "kid": "../../etc/passwd"});
    assert_eq!(reason(&forge(&head, "{}", &[7; 32], Algorithm::HS256)), "signature");
}

#[test]
fn an_expired_token_is_refused_after_the_leeway() {
    let at = |exp: Value, now_s: u64| verifier().verify(&signed(&json!({"exp": exp})), now_s);
    assert!(at(json!(NOW_S), NOW_S + LEEWAY_S - 1).is_ok());
    let expires_at_s = at(json!(NOW_S), NOW_S).expect("grants").expires_at_s.expect("an end");
    assert!(at(json!(NOW_S), expires_at_s - 1).is_ok());
    for late in [expires_at_s, expires_at_s + 1, u64::MAX] {
        assert!(matches!(at(json!(NOW_S), late), Err(TokenError::Expired { .. })), "{late}");
    }
    assert!(at(json!(NOW_S as f64 + 0.5), NOW_S + LEEWAY_S - 1).is_ok());
    assert!(at(json!(u64::MAX), NOW_S).is_ok());
    assert!(at(json!(1e300), NOW_S).is_ok());
    assert!(matches!(at(json!(0), NOW_S), Err(TokenError::Expired { .. })));
}

#[test]
fn a_token_is_refused_before_its_time() {
    let at = |nbf: Value| verifier().verify(&signed(&json!({"nbf": nbf})), NOW_S);
    assert!(at(json!(NOW_S + LEEWAY_S)).is_ok());
    assert!(matches!(at(json!(NOW_S + LEEWAY_S + 1)), Err(TokenError::NotYetValid { .. })));
    assert!(matches!(at(json!((NOW_S + LEEWAY_S) as f64 + 0.5)), Err(TokenError::NotYetValid { .. })));
    assert!(matches!(at(json!(u64::MAX)), Err(TokenError::NotYetValid { .. })));
}

#[test]
fn an_audience_that_is_named_must_be_ours() {
    let with = |aud: Value| signed(&json!({"aud": aud}));
    for ours in [json!("https://hub.example.com"), json!(["x", "https://hub.example.com"])] {
        assert!(verifier().verify(&with(ours.clone()), NOW_S).is_ok(), "{ours}");
    }
    for other in [json!("https://hub.example.com/"), json!(""), json!([]), json!(["x"])] {
        assert_eq!(reason(&with(other.clone())), "audience", "{other}");
    }
    let without = Verifier::hs256(SECRET, None).expect("a verifier");
    assert!(without.verify(&with(json!("anything")), NOW_S).is_ok());
}

#[test]
fn malformed_claims_are_refused_by_name() {
    let too_many: Vec<String> = (0..=MATCHERS_MAX).map(|n| n.to_string()).collect();
    for payload in [
        json!({"tidewire": {"publish": ["a"], "publsh": ["b"]}}),
        json!({"tidewire": {"publish": "a"}}),
        json!({"tidewire": {"publish": null}}),
        json!({"tidewire": {"publish": [1]}}),
        json!({"tidewire": {"publish": [""]}}),
        json!({"tidewire": {"subscribe": ["a\n"]}}),
        json!({"tidewire": {"subscribe": too_many}}),
        json!({"tidewire": {"admin": "yes"}}),
        json!({"tidewire": null}),
        json!({"tidewire": []}),
        json!({"tidewire": [["*"], ["*"], true]}),
        json!({"exp": null}),
        json!({"exp": "1800000000"}),
        json!({"exp": -1}),
        json!({"nbf": -1.5}),
        json!({"nbf": true}),
        json!({"aud": 1}),
        json!({"aud": null}),
        json!({"sub": 1}),
        json!([]),
        json!("x"),
    ] {
        assert_eq!(reason(&signed(&payload)), "claims", "{payload}");
    }
    // Which of two members counts would be a guess, and another reader's may differ.
    for payload in [r#"{"exp": 1, "exp": 9999999999}"#, r#"{"tidewire": {"admin": false, "admin": true}}"#, "", "{"] {
        let token = forge(&json!({"alg": "HS256"}), payload, SECRET, Algorithm::HS256);
        assert_eq!(reason(&token), "claims", "{payload}");
    }
    assert!(verifier().verify(&signed(&json!({"tidewire": {"publish": vec!["a"; MATCHERS_MAX + 1]}})), NOW_S).is_ok());
}

#[test]
fn what_is_no_token_is_refused() {
    assert_eq!(reason(""), "empty");
    let good = signed(&json!({}));
    for token in [
        "x",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "Bearer x",
        " ",
        &format!("{good}."),
        &format!(".{good}"),
        &format!("{good} "),
        &format!(" {good}"),
        &format!("{good}="),
        &good.replace('.', ".."),
    ] {
        assert_eq!(reason(token), "malformed", "{token}");
    }
}

#[test]
fn one_byte_more_than_the_limit_is_refused() {
    let sized = |bytes: usize| {
        // Three bytes of padding make four of base64url: the header takes up the rest.
        (0..bytes)
            .flat_map(|padding| ["", "x", "xx", "xxx"].map(|kid| (padding, kid)))
            .map(|(padding, kid)| {
                let head = json!({"alg": "HS256", "kid": kid});
                forge(
                    &head,
                    &json!({"sub": "a".repeat(bytes * 3 / 4 - 200 + padding)}).to_string(),
                    SECRET,
                    Algorithm::HS256,
                )
            })
            .find(|token| token.len() == bytes)
            .expect("a token of that size")
    };
    assert!(verifier().verify(&sized(TOKEN_BYTES_MAX), NOW_S).is_ok());
    assert_eq!(reason(&sized(TOKEN_BYTES_MAX + 1)), "too_long");
    let claims = Claims { subject: Some("a".repeat(TOKEN_BYTES_MAX)), ..Claims::default() };
    assert!(matches!(mint(SECRET, &claims), Err(MintError::TooLong { .. })));
}

#[test]
fn a_short_secret_is_refused() {
    let short = &SECRET[1..];
    assert_eq!(Verifier::hs256(short, None).expect_err("too short"), KeyError::TooShort { bytes: 31 });
    assert!(matches!(mint(short, &Claims::default()), Err(MintError::ShortSecret { bytes: 31 })));
}

#[test]
fn debug_hides_the_key() {
    let shown = format!("{:?}", verifier());
    assert_eq!(shown, r#"Verifier { audience: Some("https://hub.example.com"), .. }"#);
}

proptest! {
    #[test]
    fn no_text_panics_or_is_taken(text in "\\PC*") {
        prop_assert!(verifier().verify(&text, NOW_S).is_err());
    }

    /// Whatever is done to one byte of a token, it is refused.
    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), byte in "[A-Za-z0-9_.-]") {
        let good = signed(&json!({"tidewire": {"publish": ["a"]}}));
        let at = at.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(at..=at, &byte);
        prop_assume!(changed != good);
        prop_assert!(verifier().verify(&changed, NOW_S).is_err());
    }
}
