"""The napari plugin: recordings as lazily decoded layers, and the EthoPrism dock beside them."""
