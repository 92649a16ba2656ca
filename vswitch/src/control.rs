//! Talks to people and controllers: configuration, OpenFlow agent, management socket.
