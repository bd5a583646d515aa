use proptest::prelude::*;

use super::*;

fn template(text: &str) -> Template {
    Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Mostly the examples of RFC 6570, read from right to left.
#[test]
fn a_topic_matches_the_templates_that_may_become_it() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("https://a.example/books/1", &["https://a.example/books/1"], &["https://a.example/books/10"]),
        (
            "https://a.example/books/{id}",
            &["https://a.example/books/1", "https://a.example/books/", "https://a.example/books/a%2Fb,c~"],
            &["https://a.example/books/1/2", "https://a.example/books/a b", "https://a.example/books/%2", "/books/1"],
        ),
        ("/{a}/x/{b}", &["/1/x/2", "//x/"], &["/1/y/2", "/1/x/2/3"]),
        ("{a}-{b}", &["1-2", "-", "1-2-3"], &["12", "1/-2"]),
        ("{x,y}", &["1024,768", "", "1"], &["1/2"]),
        ("{x*}", &["red,green", "k=v,l=w"], &["a/b"]),
        ("{var:3}", &["val", "", "%C3%A9%C3%A9%C3%A9"], &["valu", "%C3%A9%C3%A9%C3%A9%C3%A9"]),
        ("{+path}/here", &["/foo/bar/here", "here/here", "/here"], &["/foo/bar", "\"/here"]),
        ("x{#v}", &["x", "x#", "x#a/b,c", "x#/here?ref=1"], &["xa", "x#\u{e9}"]),
        ("www{.dom*}", &["www", "www.example.com", "www."], &["www/example", "wwwx"]),
        ("{/a,b}", &["/1/2", "/1", "", "/"], &["1", "/1/2/3"]),
        ("{/list*}", &["/red/green/blue", "/k=v/l=w", ""], &["red"]),
        ("{;x,y,empty}", &[";x=1;y=2;empty", ";x=1", ";y=2;empty=", ""], &[";z=1", "x=1"]),
        ("{;keys*}", &[";semi=%3B;dot=.;comma", ";a"], &["a"]),
        ("/f{?x,y}", &["/f?x=1&y=2", "/f?y=2", "/f", "/f?x="], &["/f&x=1", "/f?y=2&x=1", "/f?x", "/fx=1"]),
        ("/f{?q*}", &["/f?a=1&b=2", "/f"], &["/f?a", "/f?"]),
        ("/f?fixed=yes{&x}", &["/f?fixed=yes&x=1", "/f?fixed=yes"], &["/f?fixed=yes?x=1"]),
        // What is literal stands for itself, and for what an expansion makes of it.
        (
            "https://symfony.com/ux-turbo/App%5CEntity%5CBook/{id}",
            &["https://symfony.com/ux-turbo/App%5CEntity%5CBook/1"],
            &["https://symfony.com/ux-turbo/App\\Entity\\Book/1"],
        ),
        ("/caf\u{e9}/{x}", &["/caf\u{e9}/1", "/caf%C3%A9/1"], &["/cafe/1"]),
        ("/caf\u{e9}{/x}", &["/caf\u{e9}/1", "/caf%C3%A9/1"], &["/cafe/1"]),
    ];
    for (text, matching, others) in table {
        let template = template(text);
        for topic in *matching {
            assert!(template.matches(topic), "{text} and {topic}");
        }
        for topic in *others {
            assert!(!template.matches(topic), "{text} but not {topic}");
        }
    }
}

#[test]
fn an_error_says_where_in_the_text_it_lies() {
    for (text, expected) in [
        ("/a/{", 3),
        ("/a/}", 3),
        ("/a/{}", 4),
        ("/{+}", 3),
        ("/{a,}", 4),
        ("/{=a}", 2),
        ("/{a b}", 2),
        ("/{a:0}", 4),
        ("/{a:10000}", 4),
        ("/{a.}", 2),
        ("/{a..b}", 2),
        ("/{%4}", 2),
        ("/{{a}}", 2),
        ("\u{e9}{", 2),
    ] {
        match Template::parse(text) {
            Err(TemplateError::Syntax { at, .. }) => assert_eq!(at, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(Template::parse(""), Err(TemplateError::Empty));
    assert_eq!(Template::parse("a\n"), Err(TemplateError::Control { character: '\n', at: 1 }));
}

#[test]
fn one_more_than_each_limit_is_refused() {
    assert!(template(&"a".repeat(TEMPLATE_BYTES_MAX)).matches(&"a".repeat(TEMPLATE_BYTES_MAX)));
    let bytes = TEMPLATE_BYTES_MAX + 1;
    assert_eq!(Template::parse(&"a".repeat(bytes)), Err(TemplateError::TooLong { bytes }));
    let variables = |count| (0..count).map(|n| format!("v{n}")).collect::<Vec<_>>().join(",");
    assert!(template(&format!("{{{}}}", variables(TEMPLATE_VARIABLES_MAX))).matches("1,2"));
    let refused = Template::parse(&format!("{{{}}}", variables(TEMPLATE_VARIABLES_MAX + 1)));
    assert!(matches!(refused, Err(TemplateError::Syntax { .. })), "{refused:?}");
    assert_eq!(Template::parse("/{a:9999}"), Err(TemplateError::TooLarge));
    let expressions = |one: &str, count| Template::parse(&one.repeat(count));
    for one in ["{x}", "{+x,y}-", "a{/x}"] {
        assert_eq!(expressions(one, RUNS_MAX + 1), Err(TemplateError::TooMany), "{one}");
    }
    assert!(expressions("{x}", RUNS_MAX).is_ok() && expressions("{+x,y}-", RUNS_MAX).is_ok());
}

/// The story: a template of 1,000 bytes took a third of a second and 64 MB to be refused, since the text of its regular
/// expression had no limit, and with more plain expressions than a glob has it was compiled on a shard.
#[test]
fn what_is_refused_for_its_size_is_not_compiled() {
    let before = crate::expression::COMPILED.get();
    let plain = "{a,b,c,d,e,f,g,h,i,j,k,l,m,n}".repeat(33);
    assert!(Template::is_quick(&plain));
    assert_eq!(Template::parse(&plain), Err(TemplateError::TooMany));
    let exploded = "{;a*,b*,c*,d*,e*,f*,g*,h*,i*,j*,k*,l*,m*,n*,o*,p*}".repeat(20);
    assert_eq!(Template::parse(&exploded), Err(TemplateError::TooLarge));
    assert_eq!(crate::expression::COMPILED.get(), before);
}

const PIECES: &[&str] = &[
    "a", "/", "{x}", "{+x}", "{#x}", "{.x}", "{/x*}", "{;x,y}", "{?x}", "{&x*}", "{x:2}", "{", "}", "\u{e9}", "%",
    "%2F", ",", "*", ":", "?", "=",
];

proptest! {
    #[test]
    fn no_text_makes_a_panic_and_what_is_found_by_its_routes_is_what_matches(
        text in prop_oneof![prop::collection::vec(prop::sample::select(PIECES), 1..8).prop_map(|pieces| pieces.concat()), ".{0,20}"],
        topic in prop_oneof!["[a/%2F,=?&;.\u{e9}]{0,10}", ".{0,20}"],
    ) {
        let Ok(template) = Template::parse(&text) else { return Ok(()) };
        let mut trie = crate::trie::Trie::new();
        for route in template.routes() {
            trie.insert(&route, &template, ());
        }
        let mut is_found = false;
        trie.candidates(&topic, &mut |_, _| is_found = true);
        prop_assert!(is_found || !template.matches(&topic), "{:?} and {:?}", text, topic);
    }

    #[test]
    fn nothing_is_compiled_for_what_is_quick(
        text in prop_oneof!["[a{}+,x_.*é]{0,12}", "(a|\\{x\\}|\\{\\+x,y\\}|\\{x_1\\}){0,60}"],
    ) {
        let before = crate::expression::COMPILED.get();
        let _ = Template::parse(&text);
        prop_assert!(!Template::is_quick(&text) || crate::expression::COMPILED.get() == before, "{}", text);
    }

    /// The oracle: the expansion of the plainest expressions.
    #[test]
    fn what_a_template_becomes_it_matches(
        literals in prop::collection::vec("[a/?-]{0,3}", 4),
        values in prop::collection::vec("[a/ \u{e9}%,-]{0,3}", 3),
        operators in prop::collection::vec(prop::sample::select(&["", "+", "#", ".", "/", ";", "?", "&"][..]), 3),
    ) {
        let (mut text, mut topic) = (String::new(), String::new());
        for (n, literal) in literals.iter().enumerate() {
            text.push_str(literal);
            topic.push_str(literal);
            let (Some(value), Some(operator)) = (values.get(n), operators.get(n)) else { break };
            text.push_str(&format!("{{{operator}v}}"));
            let is_reserved = matches!(*operator, "+" | "#");
            let encode = |c: char| {
                if c == 'a' || c == '-' || (is_reserved && matches!(c, '/' | ',')) { return c.to_string(); }
                c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
            };
            let value: String = value.chars().map(encode).collect();
            let begin = if *operator == "+" { "" } else { operator };
            topic.push_str(begin);
            if matches!(*operator, ";" | "?" | "&") {
                topic.push('v');
                if *operator != ";" || !value.is_empty() { topic.push('='); }
            }
            topic.push_str(&value);
        }
        prop_assume!(!text.is_empty());
        prop_assert!(template(&text).matches(&topic), "{} and {}", text, topic);
    }
}
