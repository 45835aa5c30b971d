"""Open one page of the dashboard under an address, from the server's side."""

from streamlit.testing.v1 import AppTest


def opened(page: str, **parameters: str) -> AppTest:
    """The page as a first visitor sees it; its choice is in the session state. A `__` in a name stands for a dot."""

    def run(page: str) -> None:
        import streamlit as st

        from dashboard import choices, views

        st.session_state["chosen"] = choices.choose()
        views.page(page).draw(st.session_state["chosen"])

    app = AppTest.from_function(run, default_timeout=120, args=(page,))
    for name, value in parameters.items():
        app.query_params[name.replace("__", ".")] = value
    app.run()
    assert [problem.value for problem in app.exception] == []
    return app
