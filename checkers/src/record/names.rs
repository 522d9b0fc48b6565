//! Names that come again and again are kept once.

use std::collections::BTreeSet;

use super::Text;

/// How many names are looked through before the tree is asked.
const RECENT_MAX: usize = 8;
/// Names kept; a file with more different ones than this gets new copies.
const NAMES_MAX: usize = 1 << 20;

/// The names of one file: functions, keywords, keys, nodes.
#[derive(Debug, Default)]
pub struct Names {
    recent: Vec<Text>,
    next: usize,
    all: BTreeSet<Text>,
}

impl Names {
    /// The name, shared with all who asked for it before.
    pub fn get(&mut self, name: &str) -> Text {
        if let Some(known) = self.recent.iter().find(|known| known.as_ref() == name) {
            return Text::clone(known);
        }
        let text = self.all.get(name).cloned().unwrap_or_else(|| {
            let text = Text::from(name);
            if self.all.len() < NAMES_MAX {
                self.all.insert(Text::clone(&text));
            }
            text
        });
        if self.recent.len() < RECENT_MAX {
            self.recent.push(Text::clone(&text));
        } else {
            self.recent[self.next] = Text::clone(&text);
            self.next = (self.next + 1) % RECENT_MAX;
        }
        text
    }
}
