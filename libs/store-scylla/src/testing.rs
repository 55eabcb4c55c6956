//! For tests of whatever runs on a cluster: nothing that serves uses this.

use futures::future::try_join_all;

use crate::connect;
use crate::error::OpenError;
use crate::schema;
use crate::settings::Settings;

/// Empties every table of a keyspace but the steps of its schema: tests use few keyspaces one after the other, since tables cost far more to make.
///
/// # Errors
/// [`OpenError`] when the cluster does not take it.
pub async fn empty_keyspace(settings: &Settings) -> Result<(), OpenError> {
    let session = connect::session(settings).await?;
    let (session, keyspace) = (&session, &settings.keyspace);
    let empty = schema::tables().map(|table| async move {
        let statement = format!("TRUNCATE {keyspace}.{table}");
        schema::run(session, keyspace, "empty a table", &statement).await
    });
    try_join_all(empty).await.map(|_| ())
}
