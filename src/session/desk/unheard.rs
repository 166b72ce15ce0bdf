//! News that the audience has not heard yet, in the order in which they were posted.

use super::super::orders::News;
use std::collections::VecDeque;

/// The news that wait, and who passes them on.
#[derive(Default)]
pub(super) struct Unheard {
    news: VecDeque<News>,
    /// A thread passes them on, those included that are posted meanwhile.
    passing: bool,
    /// News there have been.
    posted: u64,
    /// Of them, those that the audience has heard; ≤ `posted`.
    heard: u64,
}

impl Unheard {
    pub(super) fn post(&mut self, news: News) {
        self.news.push_back(news);
        self.posted += 1;
    }

    /// Whether news wait, be it those of another thread that is held up.
    pub(super) fn waits(&self) -> bool {
        !self.news.is_empty()
    }

    /// News there have been.
    pub(super) fn posted(&self) -> u64 {
        self.posted
    }

    /// News that the audience has heard.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// The first news that the caller is to pass on, and then what [`Unheard::go_on`] gives. None: another thread passes
    /// them on, or none wait.
    pub(super) fn begin(&mut self) -> Option<News> {
        if self.passing { None } else { self.take() }
    }

    /// The audience has heard what was given last: the next news. None: the caller has passed on all.
    pub(super) fn go_on(&mut self) -> Option<News> {
        self.heard += 1;
        self.take()
    }

    fn take(&mut self) -> Option<News> {
        let next = self.news.pop_front();
        self.passing = next.is_some();
        next
    }
}
