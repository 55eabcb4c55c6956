//! Reuse of connections, and that a request leaves at most once.

use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn connections_are_reused_when_the_body_ended() {
    let answers = [
        OK.to_vec(),
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec(),
    ];
    for answer in answers {
        let receiver = Receiver::answering(answer.clone(), false).await;
        let client = dev();
        for _ in 0..5 {
            status(&client.send(request(&receiver.url())).await);
        }
        assert_eq!(receiver.connections(), 1, "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn different_paths_of_one_origin_share_connections() {
    let receiver = Receiver::answering(OK, false).await;
    let client = dev();
    for path in ["a", "b", "c?d"] {
        let url = format!("http://127.0.0.1:{}/{path}", receiver.port);
        assert_eq!(status(&client.send(request(&url)).await), 200);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn connections_are_not_reused_when_told_so_or_when_bytes_are_left() {
    let answers = [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 20000\r\n\r\n{}", "x".repeat(20_000)),
    ];
    for answer in answers {
        let receiver = Receiver::answering(answer.clone(), false).await;
        let client = dev();
        for _ in 0..2 {
            assert_eq!(status(&client.send(request(&receiver.url())).await), 200);
        }
        assert_eq!(receiver.connections(), 2, "{answer:.80}");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_died_costs_no_attempt() {
    let closed = Arc::new(Notify::new());
    let requests = Arc::new(AtomicUsize::new(0));
    let (signal, counter) = (Arc::clone(&closed), Arc::clone(&requests));
    let receiver = Receiver::start(move |mut stream, _| {
        let (signal, counter) = (Arc::clone(&signal), Arc::clone(&counter));
        async move {
            // Says keep-alive and closes all the same.
            read_request(&mut stream).await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            stream.write_all(OK).await.unwrap();
            drop(stream);
            signal.notify_one();
        }
    })
    .await;
    let client = dev();
    for _ in 0..20 {
        assert_eq!(status(&client.send(request(&receiver.url())).await), 200);
        closed.notified().await;
        while client.idle_alive(&receiver.url()) > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(requests.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn a_request_that_was_written_is_never_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let receiver = Receiver::start(move |mut stream, _| {
        let counter = Arc::clone(&counter);
        async move {
            // The first request of a connection is answered; the second is read and then dropped.
            while read_request(&mut stream).await.is_some() {
                if counter.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                    return;
                }
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let client = dev();
    assert_eq!(status(&client.send(request(&receiver.url())).await), 200);
    assert_eq!(class(&client.send(request(&receiver.url())).await), ErrorClass::Connect);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn idle_and_old_connections_are_not_reused() {
    for (idle_timeout, connection_age_max) in [(0, 60), (60, 0)] {
        let receiver = Receiver::answering(OK, false).await;
        let mut settings = Settings::new(EgressPolicy::dev());
        settings.idle_timeout = Duration::from_secs(idle_timeout);
        settings.connection_age_max = Duration::from_secs(connection_age_max);
        let client = Egress::new(&settings).unwrap();
        for _ in 0..2 {
            assert_eq!(status(&client.send(request(&receiver.url())).await), 200);
        }
        assert_eq!(receiver.connections(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_let_go_before_the_receiver_says_it_closes() {
    let answer = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 0\r\n\r\n";
    let receiver = Receiver::answering(answer, false).await;
    let client = dev();
    for (wait, connections) in [(0, 1), (3_900, 1), (4_100, 2)] {
        tokio::time::advance(Duration::from_millis(wait)).await;
        assert_eq!(status(&client.send(request(&receiver.url())).await), 200);
        assert_eq!(receiver.connections(), connections, "after {wait} ms");
    }
}

#[tokio::test]
async fn no_more_connections_idle_than_allowed() {
    let receiver = Receiver::answering(OK, false).await;
    for (idle_max, idle_per_origin_max) in [(0, 64), (64, 0)] {
        let mut settings = Settings::new(EgressPolicy::dev());
        settings.idle_max = idle_max;
        settings.idle_per_origin_max = idle_per_origin_max;
        let client = Egress::new(&settings).unwrap();
        let before = receiver.connections();
        for _ in 0..3 {
            assert_eq!(status(&client.send(request(&receiver.url())).await), 200);
        }
        assert_eq!(receiver.connections() - before, 3);
    }
}

#[tokio::test]
async fn many_requests_at_once_share_the_pool_and_all_arrive() {
    let receiver = Receiver::answering(OK, false).await;
    let client = Arc::new(dev());
    let mut sends = JoinSet::new();
    for _ in 0..200 {
        let (client, url) = (Arc::clone(&client), receiver.url());
        sends.spawn(async move { status(&client.send(request(&url)).await) });
    }
    assert!(sends.join_all().await.into_iter().all(|status| status == 200));
    let before = receiver.connections();
    assert_eq!(status(&client.send(request(&receiver.url())).await), 200);
    assert_eq!(receiver.connections(), before);
}

#[tokio::test]
async fn dropping_a_send_closes_its_connection() {
    let (arrived, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arrival, end) = (Arc::clone(&arrived), Arc::clone(&gone));
    let receiver = Receiver::start(move |mut stream, _| {
        let (arrival, end) = (Arc::clone(&arrival), Arc::clone(&end));
        async move {
            read_request(&mut stream).await.unwrap();
            arrival.notify_one();
            assert!(read_request(&mut stream).await.is_none());
            end.notify_one();
        }
    })
    .await;
    let client = dev();
    tokio::select! {
        _ = client.send(request(&receiver.url())) => panic!("nobody answers"),
        () = arrived.notified() => {}
    }
    gone.notified().await;
}

/// Receivers that close whenever they like, sends at once from several threads: what the receivers saw is never more than what was sent,
/// and every send that was answered was seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_are_never_more_than_attempts_whatever_receivers_close() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let receiver = Receiver::start(move |mut stream, number| {
        let counter = Arc::clone(&counter);
        async move {
            for _ in 0..=number % 4 {
                if read_request(&mut stream).await.is_none() {
                    return;
                }
                counter.fetch_add(1, Ordering::SeqCst);
                if stream.write_all(OK).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let client = Arc::new(dev());
    let mut sends = JoinSet::new();
    for _ in 0..8 {
        let (client, url) = (Arc::clone(&client), receiver.url());
        sends.spawn(async move {
            let mut answered = 0;
            for _ in 0..250 {
                let outcome = client.send(request(&url)).await;
                answered += usize::from(outcome.is_success());
            }
            answered
        });
    }
    let answered: usize = sends.join_all().await.into_iter().sum();
    let seen = requests.load(Ordering::SeqCst);
    assert!(answered <= seen && seen <= 2_000, "{answered} answered, {seen} seen");
    assert!(answered >= 1_000, "{answered} answered");
}
