"""AMD cards that are not there: ``card`` is the test's side, ``gpu`` the worker's."""
