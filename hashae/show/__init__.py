"""What a model has learned, as pictures: see :mod:`hashae.show.figures` and :func:`hashae.show.catalogue.draw`."""
