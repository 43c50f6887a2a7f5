"""What a fetch set aside: kept with everything that is known of it, far from every training glob, never opened by itself."""
