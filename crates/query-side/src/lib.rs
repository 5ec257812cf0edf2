//! The read side: queries and the state of the projections
