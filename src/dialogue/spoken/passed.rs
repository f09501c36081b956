//! What came while a step waited for something else.

use crate::dialogue::matcher::IncomingMessage;

/// Longest message that is kept to be shown, bytes: of a longer one its length is.
const PASSED_MAX: usize = 4 << 10;

/// Messages that came while a step waited for another one. They can be many: what of them may be shown is only found out when it is.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    count: u32,
    /// Of the last one.
    bytes: u32,
    /// The last one, if it is a text and short enough.
    last: String,
}

impl PassedOver {
    pub(super) fn pass(&mut self, incoming: &IncomingMessage<'_>) {
        self.count = self.count.saturating_add(1);
        self.bytes = u32::try_from(incoming.payload.bytes().len()).unwrap_or(u32::MAX);
        self.last.clear();
        self.last.push_str(incoming.text().filter(|text| text.len() <= PASSED_MAX).unwrap_or_default());
    }

    /// The last one, where it was kept.
    pub(super) fn text(&self) -> Option<&str> {
        (self.last.len() == self.bytes as usize).then_some(&self.last)
    }

    /// Length of the last one.
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }
}
