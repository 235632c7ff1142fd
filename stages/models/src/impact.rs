//! Market impact after Almgren, Thum, Hauptmann and Li, "Direct Estimation of Equity Market Impact", 2005, and the square-root law.
