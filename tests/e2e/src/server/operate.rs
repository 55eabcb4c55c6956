//! What an operator runs beside the processes.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Options, command};
use crate::{Output, binary};

impl Options {
    /// Runs a subcommand with the configuration of the scenario, but for these variables, to its end.
    pub(super) async fn operate(
        &self,
        subcommand: &str,
        data_dir: &Path,
        changes: &[(&str, &str)],
    ) -> Result<Output> {
        let mut operate = command(binary::postrider()?);
        operate.arg(subcommand).arg("--data-dir").arg(data_dir).envs(self.variables(data_dir));
        let output = operate.envs(changes.iter().copied()).output().await;
        let output = output.with_context(|| format!("postrider {subcommand}"))?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
