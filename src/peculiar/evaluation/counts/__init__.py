"""Painted halos, as Kodi Ramanah et al. 2019 judge them."""
