//! What is known of the keys and references of resources (R1).

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{KeyShape, ResourcePath};

/// The shapes of one API's resources.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    known: HashMap<ResourcePath, Arc<KeyShape>>,
}

impl Shapes {
    pub fn of(&self, resource: &ResourcePath) -> Option<Arc<KeyShape>> {
        self.known.get(resource).cloned()
    }
}
