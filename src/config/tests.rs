//! Claims about configurations.

use super::*;

#[test]
fn probe() {
    for file in ["config/tidemark.yaml", "config/reference.yaml"] {
        let loaded = load(Path::new(file), &BTreeMap::new());
        println!("{loaded:#?}");
    }
}
