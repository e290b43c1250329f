//! What the daemon says of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// The process that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessStatus {
    pub version: String,
    /// What is wrong with the configuration on disk while the last good one stays in force; `null`
    /// while what is on disk is in force.
    pub refused_configuration: Option<RefusedConfiguration>,
    /// How much is logged; `null` where no daemon runs.
    pub log_level: Option<LogLevelShown>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedConfiguration {
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Every mistake; none for callers who see some of the pairs.
    pub problems: Vec<ConfigurationProblem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigurationProblem {
    /// `null` where no one file is meant.
    pub file: Option<String>,
    pub line: Option<u64>,
    /// With its key, and what to do.
    pub message: String,
}

impl std::fmt::Display for ConfigurationProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

/// How much is logged, from `off` to `trace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLevelShown {
    pub level: String,
    /// When it goes back by itself to what the process was started with; `null` where it is that.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}
