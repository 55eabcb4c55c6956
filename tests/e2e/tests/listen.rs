//! Following a running system: `listen`, `delivery watch`, and the streams behind them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Receiver, Reply, hmac};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use wire::api::v1::{WatchDeliveriesRequest, WatchEventsRequest};

use crate::support::{Api, answering, quick, start, text};

const TENANT: &str = "tenants/default";

#[tokio::test]
async fn events_reach_a_server_near_by_without_any_endpoint() -> Result<()> {
    let (server, api) = start().await?;
    let near = Receiver::start().await?;
    let address = near.address().to_string();
    let to = format!("{address}/webhooks");
    let args = ["listen", "--forward-to", &to, "--event", "payment.*", "-H", "X-Dev: me"];
    let mut listening = server.cli()?.begin(&args)?;
    listening.said(&format!("forwarding payment.* to http://{to}")).await?;
    let signed = listening.said("signed with whsec_").await?;
    let secret = signed.rsplit(' ').next().context("the secret")?;

    api.publish("order.made").await?;
    let event = api.publish_event(json!({"type": "payment.completed", "data": {"n": 1}})).await?;
    let event = text(&event, "id");
    let line = listening.line().await?;
    for word in ["payment.completed", event, "  200  "] {
        ensure!(line.contains(word), "{word} is not in {line:?}");
    }
    let request = near.wait_for_event(event, 1).await?.remove(0);
    assert!(
        hmac::verifies_standard(secret, &request) && hmac::verifies_x_webhook(secret, &request)
    );
    assert_eq!((request.path.as_str(), request.header("x-dev")), ("/webhooks", "me"));
    let body: Value = serde_json::from_slice(&request.body)?;
    assert_eq!((&body["id"], &body["data"]), (&json!(event), &json!({"n": 1})));

    // What the server near by answers is shown, whatever it is, and nothing is sent twice.
    near.reply([Reply::status(422).body("no such shop\u{1b}[2J")]);
    api.publish("payment.refused").await?;
    let line = listening.line().await?;
    ensure!(line.contains("422") && line.ends_with("no such shop [2J"), "{line:?}");
    drop(near);
    api.publish("payment.lost").await?;
    let line = listening.line().await?;
    ensure!(line.contains("payment.lost") && line.contains("connect"), "{line:?}");
    let near = Receiver::start_on(address.parse()?).await?;
    let last = api.publish("payment.found").await?;
    near.wait_for_event(&last, 1).await?;
    assert_eq!(near.count(), 1, "only what came after it was there again");
    assert_eq!(listening.interrupt().await?, 0);
    Ok(())
}

#[tokio::test]
async fn programs_read_lines_of_json_and_choose_secret_and_format() -> Result<()> {
    let (server, api) = start().await?;
    let near = answering(201).await?;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let to = near.url("/");
    let args = ["listen", "--forward-to", &to, "--secret", secret, "--format", "raw", "-o", "json"];
    let mut listening = server.cli()?.begin(&args)?;
    listening.said("signed with").await?;
    let event = api.publish("a.b").await?;
    let line: Value = serde_json::from_str(&listening.line().await?)?;
    assert_eq!((&line["statusCode"], &line["errorClass"]), (&json!(201), &Value::Null));
    assert_eq!(line["event"], format!("{TENANT}/events/{event}"));
    let request = near.wait_for_event(&event, 1).await?.remove(0);
    assert!(hmac::verifies_standard(secret, &request));
    assert!(serde_json::from_slice::<Value>(&request.body)?["id"].is_null(), "the raw body");
    Ok(())
}

/// A port that leads to a server, wherever that is at the time.
async fn door(to: Arc<Mutex<SocketAddr>>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let to = *to.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(to).await {
                    // Either side may end it.
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    Ok(address)
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_costs_a_listener_nothing() -> Result<()> {
    let (server, api) = start().await?;
    let near = answering(200).await?;
    let to = Arc::new(Mutex::new(server.address()));
    let through = format!("http://{}", door(Arc::clone(&to)).await?);
    let forward_to = near.url("/");
    let args = ["--server", &through, "listen", "--forward-to", &forward_to];
    let mut listening = server.cli()?.begin(&args)?;
    listening.said("signed with").await?;
    let before = api.publish("a.b").await?;
    near.wait_for_event(&before, 1).await?;
    listening.line().await?;

    let server = server.kill().await?.start().await?;
    listening.said("lost the server").await?;
    let api = Api::of(&server);
    // Published before the listener is back.
    let missed = api.publish_in_order("c.d", 20).await?;
    *to.lock().unwrap_or_else(PoisonError::into_inner) = server.address();
    listening.said("the server is there again").await?;
    for event in &missed {
        near.wait_for_event(event, 1).await?;
    }
    assert_eq!(near.count(), 21, "each once");
    assert_eq!(listening.interrupt().await?, 0);
    Ok(())
}

#[tokio::test]
async fn attempts_are_shown_as_they_end() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(503), Reply::status(200)]);
    api.endpoint("shop", &receiver.url("/"), quick(1)).await?;
    api.endpoint("other", &receiver.url("/other"), quick(0)).await?;
    receiver.reply_to("/other", [Reply::status(200)]);
    let mut watching = server.cli()?.begin(&["delivery", "watch", "--endpoint", "shop"])?;
    watching.said("watching").await?;
    let request =
        WatchDeliveriesRequest { parent: format!("{TENANT}/endpoints/shop"), ..Default::default() };
    let mut stream = server.grpc()?.deliveries().watch_deliveries(request).await?.into_inner();
    let event = api.publish("a.b").await?;
    let mut told_names = Vec::new();
    for (trigger, status, state) in [("EVENT 1", 503, "PENDING"), ("RETRY 2", 200, "SUCCEEDED")] {
        let line = watching.line().await?;
        for word in [&event, "shop", "a.b", trigger, &status.to_string(), state] {
            ensure!(line.contains(word), "{word} is not in {line:?}");
        }
        let told = stream.message().await?.context("an attempt")?;
        assert_eq!(told.attempt.as_ref().map(|attempt| attempt.status_code), Some(status));
        assert_eq!(told.state().as_str_name(), state);
        told_names.push(told.attempt.map(|attempt| attempt.name).unwrap_or_default());
    }
    api.delivery_in("shop", &event, "SUCCEEDED").await?;
    let attempts = api.attempts("shop", &event).await?;
    let names: Vec<_> = attempts.iter().rev().map(|attempt| text(attempt, "name")).collect();
    assert_eq!(told_names, names, "the attempts that are in the store");
    assert_eq!(watching.interrupt().await?, 0);
    Ok(())
}

#[tokio::test]
async fn wrong_requests_of_streams_say_what_is_wrong() -> Result<()> {
    let (server, _) = start().await?;
    let (cli, grpc) = (server.cli()?, server.grpc()?);
    let near = "http://127.0.0.1:1/";
    for (args, code, part) in [
        (&["listen"][..], 2, "--forward-to"),
        (&["listen", "--forward-to", "ftp://x/"], 2, "--forward-to"),
        (&["listen", "--forward-to", near, "--secret", "x"], 2, "whsec_"),
        (&["listen", "--forward-to", near, "--event", "a..b"], 2, "a..b"),
        (&["listen", "--forward-to", near, "-H", "Host: x"], 2, "host"),
        (&["listen", "--forward-to", near, "--tenant", "nobody"], 1, "tenants/nobody"),
        (&["delivery", "watch", "--endpoint", "missing"], 1, "missing"),
        (&["delivery", "watch", "--event", "a..b"], 1, "event_types[0]"),
    ] {
        let output = cli.run(args).await?;
        assert_eq!(output.code, code, "{args:?}: {}", output.stderr);
        ensure!(output.stderr.contains(part), "{args:?}: {}", output.stderr);
    }
    let request = WatchEventsRequest {
        parent: TENANT.into(),
        resume_token: "x".into(),
        ..Default::default()
    };
    let refused = grpc.events().watch_events(request).await.map(drop);
    let refused = refused.err().context("a foreign token is refused")?;
    assert_eq!(refused.code(), Code::InvalidArgument);
    ensure!(refused.message().contains("resume_token"), "{}", refused.message());
    Ok(())
}
