//! Optimal execution after Almgren and Chriss, "Optimal Execution of Portfolio Transactions", 2000.
