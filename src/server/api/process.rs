//! The daemon itself: how it is, and how much it logs.

use axum::Json;

use super::given::{Asker, Told};
use crate::desk::ProcessStatus;
use crate::desk::orders::LogLevelOrder;
use crate::server::problem::Problem;

/// How the daemon is: its version, what is wrong with the configuration on disk, how much it logs
#[utoipa::path(get, path = "/status", responses((status = 200, body = ProcessStatus)))]
pub(super) async fn show_process(asker: Asker) -> Result<Json<ProcessStatus>, Problem> {
    Ok(Json(asker.desk.process(&asker.by).await?))
}

/// More or less is logged for a while, and then as before
#[utoipa::path(put, path = "/log-level", request_body = LogLevelOrder, responses((status = 200, body = ProcessStatus)))]
pub(super) async fn set_log_level(
    asker: Asker,
    Told(order): Told<LogLevelOrder>,
) -> Result<Json<ProcessStatus>, Problem> {
    let lasting = order.lasting()?;
    Ok(Json(asker.desk.set_log_level(&asker.by, &order.level, lasting).await?))
}
