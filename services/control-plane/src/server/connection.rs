//! One connection, from its first byte to its certain end.
//!
//! It is asked to end when the server shuts down, when it is old, when it never sent a request, or when it has been idle.
//! From then on it may finish its calls; a second without any ends it, and so does the grace period.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use super::ServerOptions;
use super::answer::AnswerBody;
use super::front::Front;

/// How long a connection that was asked to end may stay without a call: its peer's last requests may be on their way.
const QUIET: Duration = Duration::from_secs(1);

/// The largest head of a request, in bytes, and the most headers.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// Serves one connection until it ends. All tasks of its calls have ended when this returns.
pub(super) async fn run(
    stream: TcpStream,
    front: Arc<Front>,
    options: &ServerOptions,
    shutdown: CancellationToken,
) {
    // Small answers must not wait for acknowledgements. Without it they are slower, not wrong.
    let _ = stream.set_nodelay(true);
    let calls = StreamTasks::default();
    let _guard = calls.cancel.clone().drop_guard();
    let activity = Arc::new(Activity::default());
    let service = service_fn(|request: Request<Incoming>| {
        let call = activity.clone().begin();
        let (front, shutdown) = (front.clone(), shutdown.clone());
        async move {
            let response = front.handle(request.map(Body::new)).await;
            // The call lasts as long as its answer's body.
            let answer = response.map(|body| Body::new(AnswerBody::new(body, shutdown, call)));
            Ok::<_, Infallible>(answer)
        }
    });
    let builder = builder(options, calls.clone());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));

    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = reason_to_end(&activity, options, &shutdown) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = activity.quiet_for(QUIET) => Ok(()),
                () = sleep(options.connection_grace) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended with an error");
    }
    calls.end().await;
}

fn builder(options: &ServerOptions, calls: StreamTasks) -> auto::Builder<StreamTasks> {
    let mut builder = auto::Builder::new(calls);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout.max(options.idle_timeout))
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_per_connection_max)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout);
    builder
}

/// Ends when the connection should.
async fn reason_to_end(activity: &Activity, options: &ServerOptions, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = sleep(options.connection_age_max) => {}
        () = activity.never_spoke_or_idle(options.head_timeout, options.idle_timeout) => {}
    }
}

/// How many calls are under way, and how many there were.
#[derive(Debug, Default, Clone, Copy)]
struct Calls {
    under_way: usize,
    begun: u64,
}

/// The calls of a connection.
#[derive(Debug, Default)]
struct Activity {
    calls: watch::Sender<Calls>,
}

impl Activity {
    /// Counts a call until what is returned is dropped.
    fn begin(self: Arc<Self>) -> Call {
        self.calls.send_modify(|calls| {
            calls.under_way += 1;
            calls.begun += 1;
        });
        Call(self)
    }

    /// Ends when no call begins within `head` of connecting, or later none is under way for `idle`.
    async fn never_spoke_or_idle(&self, head: Duration, idle: Duration) {
        let mut calls = self.calls.subscribe();
        if timeout(head, calls.wait_for(|calls| calls.begun > 0)).await.is_err() {
            return;
        }
        self.quiet_for(idle).await;
    }

    /// Ends once no call has been under way for `duration`.
    async fn quiet_for(&self, duration: Duration) {
        let mut calls = self.calls.subscribe();
        loop {
            // The sender is ours: it does not close.
            let Ok(begun) =
                calls.wait_for(|calls| calls.under_way == 0).await.map(|calls| calls.begun)
            else {
                return;
            };
            if timeout(duration, calls.wait_for(|calls| calls.begun > begun)).await.is_err() {
                return;
            }
        }
    }
}

/// A call that is under way.
struct Call(Arc<Activity>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.send_modify(|calls| calls.under_way -= 1);
    }
}

/// Runs the streams of an HTTP/2 connection, and ends them with it.
#[derive(Clone, Default)]
struct StreamTasks {
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl StreamTasks {
    /// Cuts what is still running and waits for it.
    async fn end(&self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            // Nothing is left to do for a stream that was cut.
            let _ = cancel.run_until_cancelled(stream).await;
        });
    }
}
