use bytes::Bytes;

use super::*;
use crate::{ApiVersion, ContentType, Event, EventId, EventType, TenantId, Timestamp};

fn event(content_type: &str, data: &str) -> Event {
    Event {
        tenant: TenantId::default_tenant(),
        id: EventId::parse("evt_1").expect("valid"),
        event_type: EventType::parse("payment.completed").expect("valid"),
        created_at: Timestamp::from_millis(0),
        api_version: ApiVersion::parse("2026-01-01").expect("valid"),
        content_type: ContentType::parse(content_type).expect("valid"),
        data: Bytes::from(data.to_owned()),
        ordering_key: None,
        idempotency_key: None,
        channels: vec!["eu".into()],
        deliver_at: None,
        revision: None,
        traceparent: None,
    }
}

fn matches(filter: &str, data: &str) -> bool {
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.matches(&FilterInput::of(&event("application/json", data)))
}

#[test]
fn expressions_are_about_data_and_event() {
    let data = r#"{"amount": 120, "rate": 1.5, "currency": "EUR", "tags": ["a", "b"], "to": {"iban": "DE1"}, "paid": true, "none": null}"#;
    for filter in [
        "true",
        "data.paid",
        "data.amount > 100",
        "data.amount >= 120.0 && data.rate < 2",
        "data.rate * 2.0 == 3.0",
        "data.amount % 7 == 1 && data.amount - 200 < 0 && data.amount in [1, 120]",
        "double(data.amount) * 1.5 == 180.0",
        "data.currency == 'EUR' || data.currency == \"USD\"",
        "data.currency in ['EUR', 'CHF']",
        "'b' in data.tags && size(data.tags) == 2",
        "data.to.iban.startsWith('DE') && !data.to.iban.contains('x')",
        "data['to']['iban'].endsWith('1')",
        "data.tags[0] == 'a'",
        "has(data.to.iban) && !has(data.to.bic)",
        "data.none == null",
        "event.type == 'payment.completed' && event.id == 'evt_1' && 'eu' in event.channels",
        "event.api_version >= '2025-01-01'",
        "data.amount > 1000 ? false : true",
        // What fails on one side does not matter where the other decides.
        "data.missing > 1 || data.paid",
        "!(data.amount < 100)",
    ] {
        assert!(matches(filter, data), "{filter}");
    }
    for filter in ["false", "data.amount < 100", "data.amount", "data.currency"] {
        assert!(!matches(filter, data), "{filter}");
    }
}

#[test]
fn what_is_missing_or_of_another_type_does_not_match() {
    for filter in [
        "data.amount > 100",
        "data.a.b.c == 1",
        "data.tags[7] == 'x'",
        "data.text > 1",
        "1 / data.zero == 1",
        "data.text + 1 == 2",
        "data.zero * 1.5 == 0.0",
        "int(data.text) == 1",
    ] {
        assert!(!matches(filter, r#"{"text": "x", "zero": 0, "tags": []}"#), "{filter}");
        assert!(!matches(filter, "[]"), "{filter}");
        assert!(!matches(filter, "1"), "{filter}");
    }
    assert!(!matches("data.big > 1", r#"{"big": 1e400}"#), "a number that no value holds");
}

#[test]
fn data_that_is_not_json_is_its_text() {
    let content = FilterInput::of(&event("text/plain", "hello world"));
    assert!(Filter::parse("data.contains('world')").expect("valid").matches(&content));
    assert!(Filter::parse("event.type == 'payment.completed'").expect("valid").matches(&content));
}

#[test]
fn what_is_no_filter_is_refused_with_what_is_allowed() {
    let refused = |text: &str| match Filter::parse(text) {
        Ok(_) => panic!("{text} is taken"),
        Err(error) => error,
    };
    for text in ["", "data.amount >", "data.amount > 100)", "data.amount = 1", "'open", "a b"] {
        assert!(
            matches!(refused(text), FilterError::Syntax { line: 1, .. }),
            "{text}: {}",
            refused(text)
        );
    }
    assert_eq!(refused("amount > 1"), FilterError::Name("amount".to_owned()));
    assert_eq!(refused("data.matches('a+')"), FilterError::Function { name: "matches".to_owned() });
    for text in [
        "data.all(x, x > 1)",
        "data.exists(x, x == 1)",
        "data.map(x, x * 2) == []",
        "data.filter(x, true) == []",
        "data.exists_one(x, x == 1)",
    ] {
        assert_eq!(refused(text), FilterError::Loop, "{text}");
    }
    assert_eq!(refused(&"x".repeat(2_000)), FilterError::TooLong(2_000));
}

#[test]
fn expressions_within_one_another_are_bounded_and_crash_nothing() {
    let round =
        |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
        ("!", ""),
        ("-", ""),
        ("1+", ""),
        ("true?1:", ""),
        ("data[", "]"),
        ("size(", ")"),
    ] {
        for n in [1, 5, 10, 20, 50, 100, 200, 300] {
            let text = round(open, close, n);
            if let Ok(filter) = Filter::parse(&text) {
                let content = FilterInput::of(&event("application/json", "{}"));
                assert!(!filter.matches(&content), "{text}");
            }
        }
    }
    // The usual long filter is fine.
    let names: Vec<String> = (0..40).map(|n| format!("data.n == {n}")).collect();
    assert!(matches(&names.join(" || "), r#"{"n": 39}"#));
    assert!(!matches(&names.join(" && "), r#"{"n": 39}"#));
}

#[test]
fn what_is_taken_prints_as_given_and_is_the_same_for_all_threads() {
    let filter = Filter::parse("  data.a==1 ").expect("valid");
    assert_eq!(filter.text(), "  data.a==1 ");
    let handles: Vec<_> = (0..4)
        .map(|n| {
            let filter = filter.clone();
            let thread = std::thread::Builder::new().name(format!("filter {n}"));
            let work = move || {
                let content =
                    FilterInput::of(&event("application/json", &format!("{{\"a\": {n}}}")));
                filter.matches(&content)
            };
            thread.spawn(work).expect("a thread")
        })
        .collect();
    let matched: Vec<bool> =
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect();
    assert_eq!(matched, [false, true, false, false]);
}
