"""The command line: one table of options, from which the parser, -help and the reference docs come."""
