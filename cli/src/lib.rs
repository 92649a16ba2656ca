//! The operator command line: arguments to a request, its answer to text or JSON.
