//! The connection to the replica, as the session sees it.

use crate::canonicaliser::ConnectionWish;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Link {
    #[default]
    None,
    Opening,
    Open,
    Closing,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Upstream {
    pub(super) link: Link,
    /// It has served a request before, so the replica may close it at any time.
    pub(super) used: bool,
    /// It serves the request under way.
    pub(super) bound: bool,
    /// A byte of the answer has come.
    pub(super) heard: bool,
    /// It went away while it served: `true` if in order.
    pub(super) gone: Option<bool>,
}

impl Upstream {
    pub(super) fn opened(&mut self) {
        if self.link == Link::Opening {
            *self = Upstream { link: Link::Open, ..Upstream::default() };
        }
    }

    /// It is to be closed, if there is one.
    pub(super) fn close(&mut self) {
        if self.link != Link::None {
            self.link = Link::Closing;
        }
        self.bound = false;
        self.gone = None;
    }

    /// A new request goes out on it.
    pub(super) fn bind(&mut self) {
        (self.bound, self.heard, self.gone) = (true, false, None);
    }

    /// The request was answered.
    pub(super) fn unbind(&mut self) {
        (self.bound, self.used, self.gone) = (false, true, None);
    }

    /// Whether bytes flow between it and the request under way.
    pub(super) fn serves(&self) -> bool {
        self.bound && self.link == Link::Open
    }

    pub(super) fn wish(&self) -> ConnectionWish {
        match self.link {
            Link::None => ConnectionWish::None,
            Link::Opening | Link::Open => ConnectionWish::Open,
            Link::Closing => ConnectionWish::Close,
        }
    }
}
