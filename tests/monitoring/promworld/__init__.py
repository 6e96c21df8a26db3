"""What the tests of monitoring share: dashboards as queries, a recorded run as a time series database."""
