//! How much is under way at once: within one call, and in all calls of a session together.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

/// Statements of one call that are under way at once.
const CALL_MAX: usize = 128;
/// Statements of all calls of a session that are under way at once; others wait for their turn. At 10 ms each that is 51 000 a second.
const SESSION_MAX: usize = 512;

/// The turns of a session's statements, in the order in which they ask.
pub(crate) struct Turns(Semaphore);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(SESSION_MAX))
    }

    /// Runs a statement once there is a place for it. Cancel safe: a place that was taken is free again.
    pub(crate) async fn take<F: Future>(&self, statement: F) -> F::Output {
        // Nobody closes it; a statement without a place would be one too many, and nothing worse.
        let _place = self.0.acquire().await.ok();
        statement.await
    }
}

/// Does many things at once, bounded. All are done, also when one fails; the first failure is the answer.
pub(crate) async fn all<F>(futures: impl IntoIterator<Item = F>) -> ports::Result<()>
where
    F: Future<Output = ports::Result<()>>,
{
    let mut first: ports::Result<()> = Ok(());
    let mut running = stream::iter(futures).buffer_unordered(CALL_MAX);
    while let Some(result) = running.next().await {
        first = first.and(result);
    }
    first
}

/// Reads many things at once, bounded; the answers come in the order of the questions.
pub(crate) async fn gather<F, T>(futures: impl IntoIterator<Item = F>) -> ports::Result<Vec<T>>
where
    F: Future<Output = ports::Result<T>>,
{
    stream::iter(futures).buffered(CALL_MAX).try_collect().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ports::{Error, ErrorKind};

    use super::*;

    /// Counts what is under way: now, at most, and ever.
    #[derive(Default)]
    struct Count {
        now: Cell<usize>,
        most: Cell<usize>,
        ever: Cell<usize>,
    }

    impl Count {
        async fn statement(&self) -> ports::Result<()> {
            self.now.set(self.now.get() + 1);
            self.most.set(self.most.get().max(self.now.get()));
            self.ever.set(self.ever.get() + 1);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            self.now.set(self.now.get() - 1);
            Ok(())
        }
    }

    #[tokio::test]
    async fn one_call_and_all_calls_together_are_bounded() {
        let (turns, count) = (Turns::new(), Count::default());
        let call = || all((0..1_000).map(|_| turns.take(count.statement())));
        call().await.expect("one call");
        assert_eq!(count.most.get(), CALL_MAX);
        let calls = futures::future::join_all((0..50).map(|_| call())).await;
        assert!(calls.iter().all(Result::is_ok));
        assert_eq!((count.most.get(), count.ever.get()), (SESSION_MAX, 51_000));
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_gives_its_places_back() {
        let turns = Turns::new();
        {
            let mut stuck = std::pin::pin!(futures::future::join_all(
                (0..SESSION_MAX).map(|_| turns.take(std::future::pending::<()>()))
            ));
            assert!(futures::poll!(&mut stuck).is_pending());
            assert_eq!(turns.0.available_permits(), 0);
        }
        assert_eq!(turns.0.available_permits(), SESSION_MAX);
    }

    #[tokio::test]
    async fn all_are_done_also_when_one_fails() {
        let count = Count::default();
        let one = |n: usize| {
            let count = &count;
            async move {
                count.statement().await?;
                if n == 3 { Err(Error::new(ErrorKind::Unavailable, "three")) } else { Ok(()) }
            }
        };
        assert!(all((0..500).map(one)).await.is_err());
        assert_eq!(count.ever.get(), 500);
    }
}
