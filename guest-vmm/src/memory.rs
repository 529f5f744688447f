//! The guest's memory, as its monitor sees it.
