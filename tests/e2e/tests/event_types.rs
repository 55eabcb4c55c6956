//! Registered event types: over gRPC, REST and the command line; what they refuse at publish, and what is refused of them.

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Answer, Receiver};
use serde_json::{Value, json};
use tonic::Code;
use wire::api::v1::{
    CreateEventTypeRequest, DeleteEventTypeRequest, EventType, GetEventTypeRequest,
    ListEventTypesRequest, NewEvent, PublishEventsRequest, UpdateEventTypeRequest,
};
use wire::status::Details;

use crate::support::{Api, TENANT, answering, reason, start, text, wrong_fields};

const NAME: &str = "tenants/default/eventTypes/payment.completed";
const PATH: &str = "/v1/tenants/default/eventTypes/payment.completed";

/// A payment has an amount, a positive integer, and nothing else.
fn payment() -> String {
    json!({
        "type": "object",
        "required": ["amount"],
        "properties": { "amount": { "$ref": "#/$defs/money" } },
        "additionalProperties": false,
        "$defs": { "money": { "type": "integer", "minimum": 1 } },
    })
    .to_string()
}

async fn create(api: &Api, id: &str, event_type: Value) -> Result<Answer> {
    let body = json!({ "eventTypeId": id, "eventType": event_type });
    api.rest.post(&format!("{TENANT}/eventTypes"), body).await
}

/// Registers payments, checked.
async fn register(api: &Api) -> Result<Value> {
    let event_type = json!({ "validate": true, "schemas": { "2026-01-01": payment() } });
    Ok(create(api, "payment.completed", event_type).await?.ok()?["eventType"].clone())
}

async fn stored(api: &Api) -> Result<Value> {
    Ok(api.rest.get(PATH).await?.ok()?["eventType"].clone())
}

fn event(data: Value) -> Value {
    json!({ "type": "payment.completed", "data": data })
}

fn message(error: &Value) -> String {
    text(&error["error"], "message").to_owned()
}

#[tokio::test]
async fn types_are_registered_shown_changed_and_deleted_over_rest() -> Result<()> {
    let (_server, api) = start().await?;
    let made = register(&api).await?;
    assert_eq!(text(&made, "name"), NAME);
    assert_eq!(made["apiVersions"], json!(["2026-01-01"]));
    assert_eq!((&made["validate"], &made["deprecated"]), (&json!(true), &json!(false)));
    assert_eq!(stored(&api).await?, made);
    let taken = create(&api, "payment.completed", json!({})).await?.expect(409)?;
    assert_eq!(reason(&taken), "ALREADY_EXISTS");

    let patch = json!({ "deprecated": true, "description": "use payment.settled" });
    let changed = api.rest.patch(PATH, patch).await?.ok()?["eventType"].clone();
    assert_eq!(changed["schemas"], made["schemas"], "what the body does not name stays");
    assert_eq!(changed["deprecated"], true);
    let stale = json!({ "validate": false, "etag": made["etag"] });
    let stale = api.rest.patch(PATH, stale).await?.expect(409)?;
    assert_eq!(reason(&stale), "ETAG_MISMATCH");
    create(&api, "order.made", json!({})).await?.ok()?;
    let list = api.rest.get(&format!("{TENANT}/eventTypes?pageSize=1")).await?.ok()?;
    assert_eq!(text(&list["eventTypes"][0], "name"), "tenants/default/eventTypes/order.made");
    let token = text(&list, "nextPageToken");
    let next = api.rest.get(&format!("{TENANT}/eventTypes?pageToken={token}")).await?.ok()?;
    let listed = &next["eventTypes"][0];
    assert_eq!((text(listed, "name"), &listed["schemas"]), (NAME, &json!({})));
    assert_eq!(listed["apiVersions"], json!(["2026-01-01"]));
    assert_eq!((text(&next, "nextPageToken"), &listed["deprecated"]), ("", &json!(true)));

    api.rest.delete(PATH).await?.ok()?;
    api.rest.get(PATH).await?.expect(404)?;
    api.rest.delete(PATH).await?.expect(404)?;
    api.publish_event(event(json!("anything"))).await?;
    Ok(())
}

#[tokio::test]
async fn data_that_does_not_conform_is_refused_with_its_place_and_nothing_is_published()
-> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("all", &receiver.url("/"), json!({})).await?;
    register(&api).await?;
    let batch = json!([
        event(json!({ "amount": 5 })),
        event(json!({ "amount": "hush-hush" })),
        event(json!({})),
        { "type": "payment.completed", "data": { "amount": 5 }, "apiVersion": "2027-01-01" },
        { "type": "payment.completed", "data": "text", "contentType": "text/plain" },
    ]);
    let refused = api.publish_all(batch).await?.expect(400)?;
    assert_eq!(reason(&refused), "SCHEMA_VIOLATION");
    assert_eq!(
        wrong_fields(&refused),
        ["events[1].data", "events[2].data", "events[3].apiVersion", "events[4].contentType"]
    );
    for part in ["events[1].data: ", "at /amount", "by /$defs/money/type", "of the schema"] {
        ensure!(message(&refused).contains(part), "{part}: {refused}");
    }
    ensure!(!refused.to_string().contains("hush-hush"), "{refused}");
    ensure!(refused.to_string().contains("allowed are 2026-01-01"), "{refused}");
    let cloud = json!({
        "specversion": "1.0", "id": "c1", "source": "s", "type": "payment.completed",
        "datacontenttype": "application/json", "data": { "amount": 0 },
    });
    let path = format!("{TENANT}/events:publish");
    let media = "application/cloudevents+json";
    let refused = api.rest.post_bytes(&path, media, cloud.to_string()).await?.expect(400)?;
    assert_eq!(reason(&refused), "SCHEMA_VIOLATION");

    // What conforms is published, and so is what nobody registered.
    let good = text(&api.publish_event(event(json!({ "amount": 5 }))).await?, "id").to_owned();
    let other = api.publish("order.made").await?;
    for id in [&good, &other] {
        receiver.wait_for_event(id, 1).await?;
    }
    assert_eq!(receiver.count(), 2, "nothing of what was refused");
    let patch = json!({ "validate": false });
    api.rest.patch(PATH, patch).await?.ok()?;
    api.publish_event(event(json!({}))).await?;
    Ok(())
}

#[tokio::test]
async fn bad_input_names_the_field_and_changes_nothing() -> Result<()> {
    let (_server, api) = start().await?;
    let made = register(&api).await?;
    let deep = format!("{}true{}", r#"{"items":"#.repeat(65), "}".repeat(65));
    let long = format!("{{\"title\":\"{}\"}}", "x".repeat(65_536));
    let field = "eventType.schemas[\"v2\"]";
    let schemas = [
        ("{", "not one JSON value"),
        (r#""text""#, "an object, true or false"),
        (r#"{"type":"integr"}"#, "at /type"),
        (r#"{"$schema":"https://example.com/mine"}"#, "2020-12"),
        (r#"{"$ref":"https://example.com/money.json"}"#, "nothing is fetched"),
        (r#"{"$ref":"file:///etc/passwd"}"#, "nothing is fetched"),
        (r##"{"properties":{"a":{"$ref":"#"}}}"##, "leads back to itself"),
        (r#"{"pattern":"(a{1000}){1000}"}"#, "at /pattern"),
        (r#"{"pattern":"(a)\\1"}"#, "at /pattern"),
        (deep.as_str(), "64 levels deep"),
        (long.as_str(), "allowed are 65536"),
    ];
    for (schema, words) in schemas {
        let event_type = json!({ "schemas": { "v2": schema } });
        for refused in [
            create(&api, "order.made", event_type.clone()).await?,
            api.rest.patch(PATH, event_type).await?,
        ] {
            let refused = refused.expect(400)?;
            assert_eq!(
                (reason(&refused).as_str(), wrong_fields(&refused)),
                ("INVALID_FIELD", vec![field.to_owned()])
            );
            ensure!(message(&refused).contains(words), "{words}: {refused}");
        }
    }
    let many: serde_json::Map<String, Value> =
        (0..33).map(|n| (format!("v{n}"), json!("true"))).collect();
    for (id, event_type, field) in [
        ("order", json!({}), "eventTypeId"),
        ("postrider.order.made", json!({}), "eventTypeId"),
        ("", json!({}), "eventTypeId"),
        ("order.made", json!({ "validate": true }), "eventType.validate"),
        ("order.made", json!({ "schemas": { "a b": "true" } }), "eventType.schemas[\"a b\"]"),
        ("order.made", json!({ "schemas": many }), "eventType.schemas"),
        ("order.made", json!({ "description": "x".repeat(1_001) }), "eventType.description"),
        ("order.made", json!({ "labels": {} }), "eventType.labels"),
    ] {
        let refused = create(&api, id, event_type).await?.expect(400)?;
        assert_eq!(wrong_fields(&refused), [field], "{refused}");
    }
    let bare = api.rest.patch(PATH, json!({ "schemas": {} })).await?.expect(400)?;
    assert_eq!(wrong_fields(&bare), ["eventType.validate"]);
    let unknown = format!("{PATH}?updateMask=uid");
    let unknown = api.rest.patch(&unknown, json!({})).await?.expect(400)?;
    assert_eq!(wrong_fields(&unknown), ["updateMask"]);
    api.rest.get(&format!("{TENANT}/eventTypes/payment")).await?.expect(400)?;
    api.rest.patch(&format!("{TENANT}/eventTypes/order.made"), json!({})).await?.expect(404)?;
    create(&api, "order.made", json!({})).await?.ok()?;
    assert_eq!(stored(&api).await?, made);
    Ok(())
}

#[tokio::test]
async fn types_work_over_grpc() -> Result<()> {
    let (server, _) = start().await?;
    let grpc = server.grpc()?;
    let mut types = grpc.event_types();
    let request = CreateEventTypeRequest {
        parent: "tenants/default".into(),
        event_type_id: "payment.completed".into(),
        event_type: Some(EventType {
            validate: true,
            schemas: [("2026-01-01".into(), payment())].into(),
            ..EventType::default()
        }),
        request_id: "5f0c2a4e-3b1d-4c6f-9a7e-2d8b1c0e4f63".into(),
        validate_only: true,
    };
    let tried = types.create_event_type(request.clone()).await?.into_inner();
    assert_eq!(tried.event_type.context("as if")?.etag, "");
    let get = GetEventTypeRequest { name: NAME.into() };
    let missing = types.get_event_type(get.clone()).await.err().context("nothing was made")?;
    assert_eq!(missing.code(), Code::NotFound);
    let request = CreateEventTypeRequest { validate_only: false, ..request };
    let made = types.create_event_type(request.clone()).await?.into_inner().event_type;
    let again = types.create_event_type(request).await?.into_inner().event_type;
    assert_eq!(again, made, "a repeat with its request id is done once");

    let event = |data: &str| PublishEventsRequest {
        parent: "tenants/default".into(),
        events: vec![NewEvent {
            r#type: "payment.completed".into(),
            data: data.to_owned().into(),
            ..NewEvent::default()
        }],
        ..PublishEventsRequest::default()
    };
    let refused = grpc.events().publish_events(event("{}")).await.err().context("refused")?;
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(wire::status::reason(&refused).as_deref(), Some("SCHEMA_VIOLATION"));
    let fields = Details::of(&refused).bad_request.context("details")?.field_violations;
    assert_eq!(fields[0].field, "events[0].data");
    let published = grpc.events().publish_events(event(r#"{"amount":1}"#)).await?.into_inner();
    assert_eq!(published.results[0].warning, "");

    let made = made.context("the type")?;
    let update = UpdateEventTypeRequest {
        event_type: Some(EventType { deprecated: true, ..made.clone() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["deprecated".into()] }),
        ..UpdateEventTypeRequest::default()
    };
    let changed = types.update_event_type(update.clone()).await?.into_inner();
    assert_eq!(changed.event_type.context("the type")?.schemas, made.schemas);
    let stale = types.update_event_type(update).await.err().context("the etag is old")?;
    assert_eq!(stale.code(), Code::Aborted);
    let published = grpc.events().publish_events(event(r#"{"amount":1}"#)).await?.into_inner();
    assert_eq!(published.results[0].warning, "payment.completed is deprecated");
    let list = ListEventTypesRequest { parent: "tenants/default".into(), ..Default::default() };
    let listed = types.list_event_types(list).await?.into_inner().event_types;
    assert_eq!((listed.len(), listed[0].schemas.len(), listed[0].deprecated), (1, 0, true));
    let delete = DeleteEventTypeRequest { name: NAME.into(), ..Default::default() };
    types.delete_event_type(delete).await?;
    assert!(types.get_event_type(get).await.is_err());
    Ok(())
}

#[tokio::test]
async fn types_work_over_the_command_line() -> Result<()> {
    let (server, _) = start().await?;
    let cli = server.cli()?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("payment.json");
    std::fs::write(&file, payment())?;
    let schema = format!("2026-01-01=@{}", file.display());
    let create = ["event-type", "create", "payment.completed", "--schema", &schema, "--validate"];
    let shown = cli.run(&create).await?.ok()?;
    for word in ["payment.completed", "Validated", "2026-01-01", "\"amount\""] {
        ensure!(shown.contains(word), "{word} is not in:\n{shown}");
    }
    let publish = |data| ["event", "publish", "payment.completed", "--data", data];
    let refused = cli.run(&publish(r#"{"amount":0}"#)).await?;
    assert_eq!(refused.code, 1);
    for word in ["events[0].data", "at /amount", "SCHEMA_VIOLATION", "event-type get"] {
        ensure!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    cli.run(&publish(r#"{"amount":1}"#)).await?.ok()?;

    let bad = ["event-type", "update", "payment.completed", "--schema", "v2={"];
    let bad = cli.run(&bad).await?;
    assert_eq!(bad.code, 1);
    ensure!(bad.stderr.contains("event_type.schemas[\"v2\"]"), "{}", bad.stderr);
    let update = ["event-type", "update", "payment.completed", "--schema", "v2=true"];
    let update = [&update[..], &["--deprecated", "--description", "use payment.settled"]].concat();
    cli.run(&update).await?.ok()?;
    let told = cli.run(&publish(r#"{"amount":1}"#)).await?;
    let warning = "payment.completed is deprecated: use payment.settled";
    ensure!(told.code == 0 && told.stderr.contains(warning), "{}", told.stderr);
    let listed = cli.run(&["event-type", "list"]).await?.ok()?;
    for word in ["DEPRECATED", "payment.completed", "yes", "2026-01-01, v2"] {
        ensure!(listed.contains(word), "{word} is not in:\n{listed}");
    }
    let update = ["event-type", "update", "payment.completed", "--remove-schema", "2026-01-01"];
    cli.run(&[&update[..], &["--validate=false"]].concat()).await?.ok()?;
    let got = cli.run(&["event-type", "get", "payment.completed", "-o", "json"]).await?.json()?;
    assert_eq!(got["eventType"]["schemas"], json!({ "v2": "true" }));
    assert_eq!(got["eventType"]["validate"], false);
    cli.run(&["event-type", "delete", "payment.completed"]).await?.ok()?;
    assert_eq!(cli.run(&["event-type", "get", "payment.completed"]).await?.code, 1);
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_what_was_registered() -> Result<()> {
    let (server, api) = start().await?;
    register(&api).await?;
    let patch = json!({ "deprecated": true });
    let changed = api.rest.patch(PATH, patch).await?.ok()?["eventType"].clone();
    let server = server.kill().await?.start().await?;
    let api = Api::of(&server);
    assert_eq!(stored(&api).await?, changed);
    let refused = api.publish_all(json!([event(json!({}))])).await?.expect(400)?;
    assert_eq!(reason(&refused), "SCHEMA_VIOLATION");
    let published = api.publish_event(event(json!({ "amount": 1 }))).await?;
    assert_eq!(text(&published, "warning"), "payment.completed is deprecated");
    Ok(())
}

#[tokio::test]
async fn what_was_published_is_delivered_whatever_its_type_asks_for_later() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    api.endpoint("late", &receiver.url("/"), json!({})).await?;
    api.verb("late", "pause", json!({})).await?.ok()?;
    let once = json!({ "type": "payment.completed", "data": {}, "id": "once" });
    let id = text(&api.publish_event(once.clone()).await?, "id").to_owned();
    register(&api).await?;
    let again = api.publish_event(once).await?;
    assert_eq!(again["duplicate"], true, "repeating a call is safe: {again}");
    api.verb("late", "resume", json!({})).await?.ok()?;
    receiver.wait_for_event(&id, 1).await?;
    Ok(())
}

#[tokio::test]
async fn schemas_as_large_as_allowed_are_kept_and_checked() -> Result<()> {
    let (_server, api) = start().await?;
    let schema = |n: usize| {
        json!({ "type": "integer", "minimum": n, "description": "x".repeat(60_000) }).to_string()
    };
    let versions = ["2026-01-01", "2026-02-01", "2026-03-01"];
    let schemas: Value = versions
        .iter()
        .enumerate()
        .map(|(n, version)| ((*version).to_owned(), schema(n)))
        .collect();
    let event_type = json!({ "validate": true, "schemas": schemas });
    create(&api, "payment.completed", event_type).await?.ok()?;
    assert_eq!(stored(&api).await?["schemas"], schemas);
    let at = |n: i32, version: &str| json!({ "type": "payment.completed", "apiVersion": version, "data": n });
    api.publish_event(at(1, "2026-02-01")).await?;
    let refused = api.publish_all(json!([at(1, "2026-03-01")])).await?.expect(400)?;
    assert_eq!(reason(&refused), "SCHEMA_VIOLATION");
    // Changed as a whole, with what was there gone.
    let patch = json!({ "schemas": { "2026-01-01": schema(9) } });
    api.rest.patch(&format!("{PATH}?updateMask=schemas"), patch).await?.ok()?;
    assert_eq!(stored(&api).await?["apiVersions"], json!(["2026-01-01"]));
    Ok(())
}
