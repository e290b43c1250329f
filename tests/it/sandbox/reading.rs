//! Pages, windows, cursors and filters of a server that holds the sample data.

use tidemark::sandbox::{ApiVersion, Seed};

use super::client::{Client, sandbox};

#[tokio::test]
async fn the_sample_is_all_there() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;

    let total: usize = server.resources().iter().map(|resource| server.count(resource)).sum();
    let page = client.get("/ed-fi/sections?totalCount=True&limit=2").await;

    assert_eq!(total, 34_288);
    assert_eq!(page.header("Total-Count"), Some("532"));
    assert_eq!(page.count(), 2);
}
