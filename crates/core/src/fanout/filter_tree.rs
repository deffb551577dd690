//! Which filters match a topic: a tree of levels, so that a publish costs nothing for filters that do not match.

use std::collections::HashMap;

use crate::name::{Filter, TopicName};

/// Values filed under filters.
#[derive(Debug)]
pub(crate) struct FilterTree<T> {
    root: Node<T>,
    n_filters: usize,
}

#[derive(Debug)]
struct Node<T> {
    children: HashMap<Box<str>, Node<T>>,
    /// Filters that end here.
    value: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { children: HashMap::new(), value: None }
    }
}

impl<T> Default for FilterTree<T> {
    fn default() -> Self {
        Self { root: Node::default(), n_filters: 0 }
    }
}

impl<T> FilterTree<T> {
    pub(crate) fn len(&self) -> usize {
        self.n_filters
    }

    pub(crate) fn get(&self, filter: &Filter) -> Option<&T> {
        let mut node = &self.root;
        for level in filter.as_str().split('/') {
            node = node.children.get(level)?;
        }
        node.value.as_ref()
    }

    pub(crate) fn insert(&mut self, filter: &Filter, value: T) {
        let mut node = &mut self.root;
        for level in filter.as_str().split('/') {
            node = node.children.entry(level.into()).or_default();
        }
        if node.value.replace(value).is_none() {
            self.n_filters += 1;
        }
    }

    /// Keeps only the values that are wanted, and prunes what leads to none.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        self.n_filters = retain(&mut self.root, &mut wanted);
    }

    /// Calls with the value of every filter that matches the topic, each once.
    pub(crate) fn for_each_match<'a>(&'a self, topic: &TopicName, mut visit: impl FnMut(&'a T)) {
        if self.n_filters == 0 {
            return;
        }
        let levels: smallvec::SmallVec<[&str; 8]> = topic.as_str().split('/').collect();
        descend(&self.root, &levels, topic.is_reserved(), &mut visit);
    }
}

fn retain<T>(node: &mut Node<T>, wanted: &mut impl FnMut(&T) -> bool) -> usize {
    if node.value.as_ref().is_some_and(|value| !wanted(value)) {
        node.value = None;
    }
    let mut n_left = usize::from(node.value.is_some());
    node.children.retain(|_, child| {
        let n_child = retain(child, wanted);
        n_left += n_child;
        n_child > 0
    });
    n_left
}

/// `reserved` holds for the first level of a `$` topic, which no wildcard matches (MQTT 5 section 4.7.2).
fn descend<'a, T>(node: &'a Node<T>, levels: &[&str], reserved: bool, visit: &mut impl FnMut(&'a T)) {
    if !reserved && let Some(value) = node.children.get("#").and_then(|rest| rest.value.as_ref()) {
        visit(value);
    }
    let Some((level, rest)) = levels.split_first() else {
        if let Some(value) = &node.value {
            visit(value);
        }
        return;
    };
    if let Some(child) = node.children.get(*level) {
        descend(child, rest, false, visit);
    }
    if !reserved && let Some(child) = node.children.get("+") {
        descend(child, rest, false, visit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(pattern: &'static str) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(pattern, 1..4)
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_the_filter(filters in prop::collection::vec(level("[ab+]"), 1..20), rest in any::<bool>(), topic in level("[ab]|\\$a")) {
            let mut tree = FilterTree::default();
            let mut all = Vec::new();
            for levels in filters {
                let text = levels.join("/") + if rest { "/#" } else { "" };
                let filter = Filter::parse(&text).unwrap();
                if tree.get(&filter).is_none() {
                    tree.insert(&filter, text);
                    all.push(filter);
                }
            }
            let topic = TopicName::parse(&topic.join("/")).unwrap();
            let mut found = Vec::new();
            tree.for_each_match(&topic, |text| found.push(text.clone()));
            found.sort();
            let mut expected: Vec<String> = all.iter().filter(|f| f.matches(&topic)).map(|f| f.as_str().into()).collect();
            expected.sort();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(tree.len(), all.len());
            tree.retain(|_| false);
            prop_assert_eq!(tree.len(), 0);
        }
    }
}
