//! Guards and victims shared by the tests.
