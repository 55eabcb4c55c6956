use std::io::Write as _;
use std::net::TcpStream as BlockingStream;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::Rest;

#[tokio::test]
async fn every_request_is_kept_with_its_headers_and_bytes() -> Result<()> {
    let receiver = Receiver::start().await?;
    let client = Rest::new(receiver.address());
    let answer = client.post_bytes("/hook?x=1", "text/plain", "a\0b").await?;
    assert_eq!(answer.status, StatusCode::OK);

    let [request] = &receiver.requests()[..] else { panic!("one request") };
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/hook", "x=1"));
    assert_eq!(request.header("content-type"), "text/plain");
    assert_eq!(&request.body[..], b"a\0b");
    Ok(())
}

#[tokio::test]
async fn what_a_sender_that_has_gone_had_sent_is_waited_for() -> Result<()> {
    let receiver = Receiver::start().await?;
    // Without a wait in between, as a process that is killed: the receiver had no turn to read it.
    let mut sender = BlockingStream::connect(receiver.address())?;
    sender.write_all(b"POST /hook HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")?;
    drop(sender);
    assert_eq!(receiver.count(), 0);
    receiver.settled().await?;
    assert_eq!(receiver.count(), 1);
    Ok(())
}

#[tokio::test]
async fn replies_come_in_order_and_the_last_one_repeats() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver
        .reply([Reply::status(503).header("retry-after", "2").body("later"), Reply::status(204)]);
    receiver.reply_to("/gone", [Reply::status(410)]);
    let client = Rest::new(receiver.address());

    let first = client.get("/").await?;
    assert_eq!((first.status.as_u16(), first.text().as_str()), (503, "later"));
    assert_eq!(first.headers["retry-after"], "2");
    assert_eq!(client.get("/gone").await?.status.as_u16(), 410);
    assert_eq!(client.get("/").await?.status.as_u16(), 204);
    assert_eq!(client.get("/").await?.status.as_u16(), 204);
    assert_eq!(receiver.requests_to("/gone").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_dropped_connection_is_no_answer() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::drop_connection()]);
    assert!(Rest::new(receiver.address()).get("/").await.is_err());
    assert_eq!(receiver.requests().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_the_request_and_says_nothing() -> Result<()> {
    let receiver = Receiver::start().await?;
    for reply in [Reply::hang(), Reply::hang_in_body()] {
        receiver.reply([reply]);
        let client = Rest::new(receiver.address());
        let before = receiver.requests().len();
        let call = client.get("/");
        let seen = receiver.wait_for_count(before + 1);
        tokio::select! {
            answer = call => panic!("answered: {answer:?}"),
            seen = seen => assert_eq!(seen?.len(), before + 1),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_late_reply_comes_after_its_delay() -> Result<()> {
    let receiver = Receiver::start().await?;
    let delay = Duration::from_millis(50);
    receiver.reply([Reply::status(200).after(delay)]);
    Rest::new(receiver.address()).get("/").await?;
    assert!(receiver.requests()[0].at.elapsed() >= delay);
    Ok(())
}

#[tokio::test]
async fn a_stopped_receiver_refuses_and_its_address_can_be_taken_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    let client = Rest::new(receiver.address());
    client.get("/").await?;
    let (address, seen) = receiver.stop().await;
    assert_eq!(seen.len(), 1);
    assert!(client.get("/").await.is_err());

    let again = Receiver::start_on(address).await?;
    client.get("/").await?;
    assert_eq!(again.requests().len(), 1);
    Ok(())
}

#[tokio::test]
async fn requests_that_wait_together_are_counted() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::hang()]);
    let client = Rest::new(receiver.address());
    let calls = async { tokio::join!(client.get("/a"), client.get("/b"), client.get("/c")) };
    tokio::select! {
        _ = calls => panic!("answered"),
        seen = receiver.wait_for_count(3) => assert_eq!(seen?.len(), 3),
    }
    assert_eq!(receiver.in_flight_max(), 3);
    Ok(())
}

#[tokio::test]
async fn waiting_ends_with_the_request_that_is_enough() -> Result<()> {
    let receiver = Receiver::start().await?;
    let client = Rest::new(receiver.address());
    let publish = async {
        for number in 0..5 {
            client.post("/", json!({ "number": number })).await?;
        }
        Ok(())
    };
    let third =
        |all: &[Request]| all.iter().any(|r| r.json().is_ok_and(|body| body["number"] == 3));
    let waiting = receiver.wait_for("the fourth", third);
    let (sent, seen): (Result<()>, _) = tokio::join!(publish, waiting);
    sent?;
    assert!(third(&seen?));
    Ok(())
}

#[tokio::test]
async fn waiting_in_vain_says_for_what() -> Result<()> {
    let receiver = Receiver::start().await?;
    let error = receiver.wait_within(Duration::ZERO, "the moon", |_| false).await.unwrap_err();
    assert!(error.to_string().contains("in vain for: the moon; 0 arrived"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_waiter_that_goes_away_leaves_the_ledger_as_it_is() -> Result<()> {
    let receiver = Receiver::start().await?;
    let waited = timeout(Duration::ZERO, receiver.wait_for_count(1)).await;
    assert!(waited.is_err());
    Rest::new(receiver.address()).get("/").await?;
    assert_eq!(receiver.wait_for_count(1).await?.len(), 1);
    Ok(())
}
