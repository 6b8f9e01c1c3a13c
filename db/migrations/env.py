"""What Alembic runs: the connection comes from :mod:`hashae.db.migrate`, and so does the transaction."""

from alembic import context

from hashae.db.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
