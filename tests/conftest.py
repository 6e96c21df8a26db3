from hypothesis import settings

pytest_plugins = ["igpo_cluster.fixtures"]

# A machine under load is no counterexample: hangs are caught by the timeout of each test.
settings.register_profile("igpo", deadline=None)
settings.load_profile("igpo")
