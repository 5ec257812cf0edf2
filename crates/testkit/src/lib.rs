//! What the tests share: servers on sockets, contract suites, throw-away folders
