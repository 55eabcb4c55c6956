//! Events going in and coming out: the bytes of `data`, and faults in a batch.

use serde_json::json;

use super::fake::Fake;
use super::{PUBLISH, send};

#[tokio::test]
async fn published_data_keeps_its_bytes() {
    let fake = Fake::default();
    let data = "{ \"b\" : 1.0,\n\t\"a\":[1e400, 12345678901234567890123],\"u\":\"\\u00e9é\" }";
    let body = format!(
        r#"{{"events":[{{"type":"a.b","data":  {data} }},{{"data":null,"orderingKey":"k"}}]}}"#
    );
    let answer = send(&fake, "POST", PUBLISH, body).await;
    assert_eq!(
        answer.json(),
        json!({"results": [{"id": "evt_0", "duplicate": false}, {"id": "evt_1", "duplicate": false}]})
    );
    let request = fake.published();
    assert_eq!(request.parent, "tenants/t");
    assert_eq!(std::str::from_utf8(&request.events[0].data).unwrap(), data);
    assert_eq!(request.events[0].r#type, "a.b");
    assert_eq!(&request.events[1].data[..], b"null");
    assert_eq!(request.events[1].ordering_key, "k");
}

#[tokio::test]
async fn data_that_is_not_json_is_text_or_base64() {
    let fake = Fake::default();
    let body = r#"{"events":[{"contentType":"text/plain","data":"a\nb"},{"contentType":"image/png","dataBase64":"AP8"},{"content_type":"image/png","data_base64":"AP8"}]}"#;
    assert_eq!(send(&fake, "POST", PUBLISH, body).await.status, 200);
    let request = fake.published();
    assert_eq!(&request.events[0].data[..], b"a\nb");
    assert_eq!(&request.events[1].data[..], b"\x00\xff");
    assert_eq!(&request.events[2].data[..], b"\x00\xff");
}

#[tokio::test]
async fn faults_in_a_batch_name_the_event() {
    for (body, expected) in [
        (
            r#"{"events":[{},{},{},{"foo":1}]}"#,
            "events[3].foo: is unknown; allowed here: id, type, data",
        ),
        (r#"{"events":[{"channels":"a"}]}"#, "events[0].channels: must be an array, not a string"),
        (r#"{"events":[7]}"#, "events[0]: must be an object, not a number"),
        (r#"{"events":{}}"#, "events: must be an array, not an object"),
        (r#"{"event":[]}"#, "event: is unknown; allowed here: parent, events, validateOnly"),
        (r#"{"events":[{"deliverTime":"now"}]}"#, "events[0].deliverTime: must be a time"),
        (
            r#"{"events":[{"data":1,"contentType":"text/plain"}]}"#,
            "events[0].data: must be a string for content type",
        ),
        (r#"{"events":[{"data":1,"dataBase64":""}]}"#, "events[0].dataBase64: and data are given"),
        (r#"{"events":[{"apiVersion":"a","api_version":"b"}]}"#, "is given twice: apiVersion"),
        (r#"{"events":[],"validateOnly":true,"validate_only":true}"#, "is given twice"),
        (
            r#"{"events":[{"dataBase64":"","data_base64":""}]}"#,
            "events[0].dataBase64: is given twice",
        ),
        (r#"{"events":[{"data":tru}]}"#, "body: is not valid JSON"),
    ] {
        let fake = Fake::default();
        let message = send(&fake, "POST", PUBLISH, body).await.error(400, "INVALID_ARGUMENT");
        assert!(message.contains(expected), "{body}: {message}");
        assert!(!fake.was_called());
    }
}

#[tokio::test]
async fn events_are_shown_as_they_were_published() {
    for (content_type, data, expected) in [
        ("", &b"{ \"a\": 1.0 }"[..], r#""data":{ "a": 1.0 }"#),
        ("application/json", b"not json", r#""data":"not json""#),
        ("text/plain", b"1", r#""data":"1""#),
        ("image/png", b"\x00\xff", r#""dataBase64":"AP8=""#),
    ] {
        let fake = Fake::default().with_event(content_type, data);
        let answer = send(&fake, "GET", "/v1/tenants/t/events/e", "").await;
        assert!(answer.text.contains(expected), "{}", answer.text);
    }
}

#[tokio::test]
async fn errors_of_single_results_show_their_details() {
    let status = wire::status::Details::reason("LOG_UNAVAILABLE")
        .status(tonic::Code::Unavailable, "try again");
    let fake = Fake::default().failing_to_append(status);
    let answer = send(&fake, "POST", PUBLISH, r#"{"events":[{},{}]}"#).await.json();
    assert_eq!(answer["results"][0].get("error"), None);
    let error = &answer["results"][1]["error"];
    assert_eq!((&error["code"], &error["message"]), (&json!(14), &json!("try again")));
    assert_eq!(error["details"][0]["reason"], "LOG_UNAVAILABLE");
}
