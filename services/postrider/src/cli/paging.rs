//! Lists: as many pages as the caller wants rows.

use clap::Args;

use crate::failure::Failure;

/// Largest page that the server gives.
const PAGE_MAX: usize = 1_000;

/// How much of a list to show.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ListFlags {
    /// Most rows to show
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Rows and where they go on.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    /// The rows, as many as were wanted or there are.
    pub(crate) items: Vec<T>,
    /// Gets the next page; empty when there is nothing more.
    pub(crate) next: String,
}

impl ListFlags {
    /// Everything that there is.
    pub(crate) const ALL: Self = Self { limit: u32::MAX };

    /// Fetches pages (`fetch` takes size and token) until there are enough rows. A page may be short, even empty, before the last one.
    pub(crate) async fn fetch<T, F>(self, mut fetch: F) -> Result<Rows<T>, Failure>
    where
        F: AsyncFnMut(i32, String) -> Result<(Vec<T>, String), tonic::Status>,
    {
        let wanted = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let size = (wanted - items.len()).min(PAGE_MAX);
            let (page, token) = fetch(i32::try_from(size).unwrap_or(1), next).await?;
            items.extend(page);
            next = token;
            if next.is_empty() || items.len() >= wanted {
                items.truncate(wanted);
                return Ok(Rows { items, next });
            }
        }
    }
}

/// Tells people that there is more.
pub(crate) fn more(next: &str) -> Option<String> {
    (!next.is_empty()).then(|| "there is more: raise --limit".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list that the server gives in these pages, however many rows are asked for.
    async fn fetched(limit: u32, pages: &[&[u8]]) -> (Vec<u8>, String, Vec<i32>) {
        let mut sizes = Vec::new();
        let rows = ListFlags { limit }
            .fetch(async |size, token| {
                sizes.push(size);
                let at = if token.is_empty() { 0 } else { token.parse().expect("a number") };
                let next = if at + 1 < pages.len() { (at + 1).to_string() } else { String::new() };
                Ok((pages.get(at).expect("a page that there is").to_vec(), next))
            })
            .await
            .expect("fetched");
        (rows.items, rows.next, sizes)
    }

    #[tokio::test]
    async fn short_and_empty_pages_are_gone_over() {
        let pages: [&[u8]; 5] = [&[1, 2], &[], &[], &[3], &[4, 5]];
        let (items, next, sizes) = fetched(3, &pages).await;
        assert_eq!((items, next.as_str()), (vec![1, 2, 3], "4"), "as many as wanted, and more");
        assert_eq!(sizes, [3, 1, 1, 1]);
        let (items, next, _) = fetched(u32::MAX, &pages).await;
        assert_eq!((items, next.as_str()), (vec![1, 2, 3, 4, 5], ""), "all");
    }
}
