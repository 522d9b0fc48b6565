//! Tests of whole replicas.
