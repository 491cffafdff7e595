"""Scaling by KEDA: typed ScaledObjects and InterceptorRoutes."""
