"""Data sets for EthoPrism: published recordings and the simulated arena, one module each."""
