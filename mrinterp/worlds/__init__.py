"""Networks and data whose causes are known: for tests, benchmarks and tutorials."""
