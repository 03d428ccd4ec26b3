"""Who can assume what: reads the generated documents and answers with the chain."""
