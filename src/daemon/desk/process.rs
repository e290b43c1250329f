//! The process that answers: how it is, and how much it logs.

use std::time::Duration;

use super::FleetDesk;
use crate::desk::{Caller, DeskError, ProcessStatus};
use crate::telemetry::LogLevel;

impl FleetDesk {
    pub(super) fn process_status(&self, by: &Caller) -> ProcessStatus {
        let mut refused = self.at_work.as_ref().and_then(|at_work| at_work.refused_configuration());
        if let Some(refused) = refused.as_mut().filter(|_| !by.labels.is_empty()) {
            // They name what this caller does not see.
            refused.problems.clear();
        }
        ProcessStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            refused_configuration: refused,
            log_level: self.at_work.as_ref().and_then(|at_work| at_work.log_level()),
        }
    }

    pub(super) async fn log_more_or_less(
        &self,
        by: &Caller,
        level: &str,
        lasting: Duration,
    ) -> Result<ProcessStatus, DeskError> {
        let parsed: LogLevel =
            level.parse().map_err(|error: crate::telemetry::TelemetryError| {
                DeskError::Refused(error.to_string())
            })?;
        if !self.control()?.set_log_level(parsed, lasting) {
            return Err(DeskError::Conflict("this process logs as it was started to".to_owned()));
        }
        let what = format!("{parsed} for {}", humantime::format_duration(lasting));
        self.note(self.record(by, "log level", None, what, None)).await?;
        Ok(self.process_status(by))
    }
}
