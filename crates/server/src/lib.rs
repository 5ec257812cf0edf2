//! The orderlog binary: settings, roles and command line
