//! What receivers answer, and what becomes of it.

use std::future::pending;
use std::sync::Mutex;

use domain::{RetryAfter, limits};

use super::*;

async fn answered(answer: impl Into<Vec<u8>>) -> Outcome {
    let receiver = Receiver::answering(answer, true).await;
    dev().send(request(&receiver.url())).await
}

#[tokio::test]
async fn the_request_carries_exactly_what_was_asked() {
    let seen = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&seen);
    let receiver = Receiver::start(move |mut stream, _| {
        let sink = Arc::clone(&sink);
        async move {
            *sink.lock().unwrap() = read_request(&mut stream).await;
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let outcome = dev().send(request(&receiver.url())).await;
    assert_eq!(status(&outcome), 200);
    assert_eq!(outcome.excerpt, "ok");
    let (head, body) = seen.lock().unwrap().take().unwrap();
    let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
    lines.sort();
    let mut expected = vec![
        "POST /hook?x=1 HTTP/1.1".to_owned(),
        "accept-encoding: identity".to_owned(),
        "content-length: 7".to_owned(),
        "content-type: application/json".to_owned(),
        format!("host: 127.0.0.1:{}", receiver.port),
        "x-custom: yes".to_owned(),
    ];
    expected.sort();
    assert_eq!(lines, expected);
    assert_eq!(body, br#"{"a":1}"#);
}

#[tokio::test]
async fn every_status_is_an_answer() {
    let lines = [
        ("200 OK", 200),
        ("201", 201),
        ("400 Bad", 400),
        ("500 ", 500),
        ("999 Odd", 999),
        ("304 Not Modified", 304),
    ];
    for (line, expected) in lines {
        let outcome = answered(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")).await;
        assert_eq!(status(&outcome), expected, "{line}");
    }
    assert_eq!(status(&answered("HTTP/1.1 204 No Content\r\n\r\n").await), 204);
    let switching = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(status(&answered(switching).await), 101);
}

#[tokio::test]
async fn redirects_are_answers_and_nobody_follows_them() {
    let elsewhere = Receiver::answering(OK, true).await;
    for code in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {code} Moved\r\nlocation: {}\r\nrefresh: 0; url={}\r\ncontent-length: 0\r\n\r\n",
            elsewhere.url(),
            elsewhere.url()
        );
        assert_eq!(status(&answered(answer).await), code);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_read() {
    let outcome =
        answered("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(outcome.retry_after, Some(RetryAfter::Delay(Duration::from_secs(7))));
}

#[tokio::test]
async fn what_is_not_http_is_of_class_http() {
    let garbage = [
        "hello, this is a mail server\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/1.1 000 Zero\r\n\r\n",
        "HTTP/1.1 99 Short\r\n\r\n",
        "HTTP/1.1 1000 Long\r\n\r\n",
        "<html>0.9</html>\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    ];
    for text in garbage {
        let outcome = answered(text).await;
        assert_eq!(class(&outcome), ErrorClass::Http, "{text:?}: {}", outcome.detail);
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(10_000_000));
    assert_eq!(class(&answered(long).await), ErrorClass::Http);
    let line = format!("x: {}\r\n", "a".repeat(1_000));
    let of = |lines| format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", line.repeat(lines));
    assert_eq!(status(&answered(of(60)).await), 200);
    assert_eq!(class(&answered(of(80)).await), ErrorClass::Http);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    assert_eq!(class(&answered(many).await), ErrorClass::Http);
    let some = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(90));
    assert_eq!(status(&answered(some).await), 200);
}

#[tokio::test]
async fn a_few_interim_answers_are_skipped_and_a_flood_is_refused() {
    let of = |count| {
        let interim = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(count);
        format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    };
    assert_eq!(status(&answered(of(3)).await), 200);
    let flood = Receiver::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    })
    .await;
    let outcome = dev().send(request(&flood.url())).await;
    assert_eq!(class(&outcome), ErrorClass::Http, "{}", outcome.detail);
}

#[tokio::test]
async fn an_endless_body_is_cut_at_16_kib() {
    let receiver = Receiver::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        let _ =
            stream.write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 1000000000000\r\n\r\n").await;
        while stream.write_all(&[b'x'; 1_000]).await.is_ok() {}
    })
    .await;
    let outcome = dev().send(request(&receiver.url())).await;
    assert_eq!(status(&outcome), 500);
    assert_eq!(outcome.excerpt.len(), limits::EXCERPT_FAILURE_BYTES);
}

#[tokio::test]
async fn chunked_bodies_are_read_also_in_single_bytes_with_trailers() {
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for byte in b"hello" {
        answer.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
    }
    answer.extend_from_slice(b"0\r\nx-trailer: y\r\n\r\n");
    let outcome = answered(answer).await;
    assert_eq!(status(&outcome), 200);
    assert_eq!(outcome.excerpt, "hello");
}

#[tokio::test]
async fn endless_trailers_end() {
    let receiver = Receiver::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
        let _ = stream.write_all(head).await;
        while stream.write_all(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").await.is_ok() {}
    })
    .await;
    assert_eq!(status(&dev().send(request(&receiver.url())).await), 200);
}

#[tokio::test]
async fn compressed_bodies_are_kept_as_they_came() {
    let mut answer =
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n".to_vec();
    answer.extend_from_slice(&[0x1f, 0x8b, 8, 0]);
    assert_eq!(answered(answer).await.excerpt, Bytes::from_static(&[0x1f, 0x8b, 8, 0]));
}

#[tokio::test]
async fn trouble_in_the_body_does_not_flip_a_success() {
    let cut = answered("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").await;
    assert_eq!((status(&cut), cut.excerpt.as_ref()), (200, b"part".as_slice()));
    let broken = answered("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").await;
    assert_eq!(status(&broken), 200);
}

#[tokio::test]
async fn a_reset_before_the_answer_is_of_class_connect() {
    let closes = Receiver::start(|mut stream, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    assert_eq!(class(&dev().send(request(&closes.url())).await), ErrorClass::Connect);
    let resets = Receiver::start(|stream, _| async move {
        // Unread input turns the close into a reset.
        stream.readable().await.unwrap();
        drop(stream);
    })
    .await;
    assert_eq!(class(&dev().send(request(&resets.url())).await), ErrorClass::Connect);
}

#[tokio::test]
async fn a_refused_connection_is_of_class_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let outcome = dev().send(request(&url)).await;
    assert_eq!(class(&outcome), ErrorClass::Connect);
    assert_eq!(outcome.detail, "connection refused");
}

/// Sends with a timeout that is waited for; it bounds the test from below, nothing is asserted about above.
async fn send_briefly(receiver: &Receiver, body: Bytes) -> Outcome {
    let timeout = Duration::from_millis(150);
    dev().send(Request { timeout, body, ..request(&receiver.url()) }).await
}

#[tokio::test]
async fn silence_and_a_trickled_head_end_at_the_total_timeout() {
    let silent = Receiver::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        pending::<()>().await;
    })
    .await;
    let outcome = send_briefly(&silent, Bytes::new()).await;
    assert_eq!(class(&outcome), ErrorClass::Timeout);
    assert!(outcome.duration >= Duration::from_millis(150));
    let trickle = Receiver::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for byte in OK.iter().take(30) {
            ticks.tick().await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
        pending::<()>().await;
    })
    .await;
    assert_eq!(class(&send_briefly(&trickle, Bytes::new()).await), ErrorClass::Timeout);
}

#[tokio::test]
async fn a_trickled_body_ends_at_the_total_timeout_with_the_status() {
    let receiver = Receiver::start(|mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\nabc").await;
        pending::<()>().await;
    })
    .await;
    let outcome = send_briefly(&receiver, Bytes::new()).await;
    assert_eq!((status(&outcome), outcome.excerpt.as_ref()), (202, b"abc".as_slice()));
}

#[tokio::test]
async fn a_receiver_that_never_reads_ends_at_the_total_timeout() {
    let receiver = Receiver::start(|stream, _| async move {
        pending::<()>().await;
        drop(stream);
    })
    .await;
    let outcome = send_briefly(&receiver, vec![0; 20_000_000].into()).await;
    assert_eq!(class(&outcome), ErrorClass::Timeout);
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_named() {
    let receiver = Receiver::answering(OK, true).await;
    let mut bad = request(&receiver.url());
    bad.headers.push((HeaderName::Static("x-bad"), "a\r\nb: c".into()));
    let outcome = dev().send(bad).await;
    assert_eq!(class(&outcome), ErrorClass::Http);
    assert!(outcome.detail.contains("x-bad"));
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn an_empty_body_still_has_a_length() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heads);
    let receiver = Receiver::start(move |mut stream, _| {
        let sink = Arc::clone(&sink);
        async move {
            let (head, _) = read_request(&mut stream).await.unwrap();
            sink.lock().unwrap().push(head);
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let empty = Request { body: Bytes::new(), ..request(&receiver.url()) };
    assert_eq!(status(&dev().send(empty).await), 200);
    assert!(heads.lock().unwrap()[0].contains("content-length: 0"));
}
