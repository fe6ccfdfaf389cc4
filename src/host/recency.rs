//! The order in which things were used last, so that the one that was not for longest is found at
//! once.

/// A queue of slab keys from which any key can be taken out: a list through an array.
#[derive(Debug)]
pub(crate) struct RecencyQueue {
    nodes: Vec<Node>,
}

/// The neighbours of a key. Node 0 is the anchor, between the last key and the first; the node of
/// a key is the one behind it. Whoever is its own neighbour is not in the queue.
#[derive(Clone, Copy, Debug)]
struct Node {
    before: u32,
    after: u32,
}

const ANCHOR: usize = 0;

impl RecencyQueue {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::alone(ANCHOR)] }
    }

    /// The key that was put in before all others.
    pub(crate) fn first(&self) -> Option<usize> {
        let first = self.nodes[ANCHOR].after as usize;
        (first != ANCHOR).then(|| first - 1)
    }

    pub(crate) fn has(&self, key: usize) -> bool {
        self.nodes.get(key + 1).is_some_and(|node| node.after as usize != key + 1)
    }

    /// Puts a key at the end, also if it is in the queue already.
    pub(crate) fn put_last(&mut self, key: usize) {
        let at = key + 1;
        while self.nodes.len() <= at {
            self.nodes.push(Node::alone(self.nodes.len()));
        }
        if self.nodes[ANCHOR].before as usize != at {
            self.unlink(at);
            let last = self.nodes[ANCHOR].before as usize;
            self.link(last, at);
            self.link(at, ANCHOR);
        }
    }

    /// Takes a key out, if it is in.
    pub(crate) fn take_out(&mut self, key: usize) {
        let at = key + 1;
        if at < self.nodes.len() {
            self.unlink(at);
            self.nodes[at] = Node::alone(at);
        }
    }

    /// Makes the neighbours of a node each other's; nothing changes for one that is alone.
    fn unlink(&mut self, at: usize) {
        let Node { before, after } = self.nodes[at];
        self.link(before as usize, after as usize);
    }

    fn link(&mut self, before: usize, after: usize) {
        self.nodes[before].after = index(after);
        self.nodes[after].before = index(before);
    }
}

impl Node {
    fn alone(at: usize) -> Self {
        Self { before: index(at), after: index(at) }
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a process has fewer connections than there are descriptors")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut RecencyQueue) -> Vec<usize> {
        let mut keys = Vec::new();
        while let Some(key) = queue.first() {
            queue.take_out(key);
            keys.push(key);
        }
        keys
    }

    #[test]
    fn the_longest_idle_key_is_first_and_any_can_leave() {
        let mut queue = RecencyQueue::new();
        queue.take_out(3);
        for key in [3, 0, 7, 5] {
            queue.put_last(key);
        }
        queue.put_last(3);
        queue.put_last(3);
        queue.take_out(7);
        queue.take_out(7);
        assert_eq!((queue.first(), queue.has(3), queue.has(7)), (Some(0), true, false));
        assert_eq!(drain(&mut queue), [0, 5, 3]);
        queue.put_last(7);
        assert_eq!(drain(&mut queue), [7]);
    }
}
